package auth_test

import (
	"testing"

	"gatehouse.example/internal/auth"
)

// Texts, metrics and tests go through the list. A forgotten kind would have no text, and nobody
// would notice before a mail of it is due.
func TestTheListOfKindsOfMailsIsWhole(t *testing.T) {
	t.Parallel()
	wantListed(t, "letter.go", "Mail", auth.MailKinds())
}
