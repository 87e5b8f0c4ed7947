package db

import (
	"errors"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// Whoever may register clients could fill the database with them.
func TestNoMoreClientsAreStoredThanThereMayBe(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	insert := func(id string) error {
		_, err := d.InsertClient(t.Context(), anEvent(), auth.Freely(), auth.StoredClient{Client: auth.Client{ID: id, Title: "Client"}}, 2)
		return err
	}
	must(t, insert("first"))
	must(t, insert("second"))
	if err := insert("third"); !errors.Is(err, auth.ErrTooManyClients) {
		t.Errorf("one more: %v", err)
	}
	if err := insert("first"); !errors.Is(err, auth.ErrClientIDTaken) {
		t.Errorf("one that is there: %v", err)
	}
	all, err := d.ListClients(t.Context(), "", 9)
	must(t, err)
	rest, err := d.ListClients(t.Context(), "first", 9)
	must(t, err)
	if len(all) != 2 || len(rest) != 1 || rest[0].ID != "second" {
		t.Errorf("%+v, and after the first %+v", all, rest)
	}
}
