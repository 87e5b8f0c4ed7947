package password

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func pepper(fill byte) []byte { return bytes.Repeat([]byte{fill}, minPepperBytes) }

func newRing(t testing.TB, peppers ...[]byte) *KeyRing {
	t.Helper()
	ring, err := NewKeyRing(peppers)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func ids(ring *KeyRing) []string {
	var all []string
	for _, record := range ring.Records() {
		all = append(all, record.ID)
	}
	return all
}

// Another figure here means that every stored hash of a service that runs has become unusable. They
// were computed with another implementation: printf %s 'gatehouse password key id' | openssl dgst
// -sha256 -hmac KEY.
func TestKeyIdentityNeverChanges(t *testing.T) {
	t.Parallel()
	ring := newRing(t, []byte(strings.Repeat("a", 32)))
	want := []struct{ id, check string }{
		{"5d8feb00", "686210d68fe12e58aa94ba513ef2382879e5d20fd6dc6498732491213f14d2e6"},
		{"0", "d9188ad407115f5ca6f378fa91122853b9165712aa993acca1c91826a9589092"},
	}
	for i, record := range ring.Records() {
		if record.ID != want[i].id || hex.EncodeToString(record.Check) != want[i].check {
			t.Errorf("record %d = %s %x, want %s %s", i, record.ID, record.Check, want[i].id, want[i].check)
		}
	}
}

func TestCurrentKeyIsTheFirstPepperOrElseThePublicOne(t *testing.T) {
	t.Parallel()
	bare := newRing(t)
	if got := ids(bare); !slices.Equal(got, []string{"0"}) || bare.Current().ID != "0" {
		t.Errorf("without a pepper: %v, current %s", got, bare.Current().ID)
	}
	first, second := pepperKey(pepper(1)).id, pepperKey(pepper(2)).id
	ring := newRing(t, pepper(1), pepper(2))
	if got := ids(ring); !slices.Equal(got, []string{first, second, "0"}) || ring.Current().ID != first {
		t.Errorf("with two peppers: %v, current %s; want %s, %s, 0", got, ring.Current().ID, first, second)
	}
	inDatabase := regexp.MustCompile(`^[0-9a-f]{1,16}$`)
	for _, record := range ring.Records() {
		if !inDatabase.MatchString(record.ID) || len(record.Check) != 32 {
			t.Errorf("record %s with %d bytes of check doesn't fit the database", record.ID, len(record.Check))
		}
	}
}

func TestKeyRingRefusesBadPeppersWithoutShowingThem(t *testing.T) {
	t.Parallel()
	for name, peppers := range map[string][][]byte{
		"short":   {pepper('x'), []byte(strings.Repeat("s", 31))},
		"empty":   {{}},
		"doubled": {pepper('x'), pepper('y'), pepper('x')},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewKeyRing(peppers)
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "xxxx") || strings.Contains(err.Error(), "ssss") {
				t.Errorf("the error shows the pepper: %v", err)
			}
		})
	}
}

func TestKeyRingKeepsItsOwnCopy(t *testing.T) {
	t.Parallel()
	mine := pepper(1)
	ring := newRing(t, mine)
	before := ring.Current().Check
	clear(mine)
	if !bytes.Equal(ring.Current().Check, before) {
		t.Error("the key changed with the caller's slice")
	}
}

func TestPrintingAKeyRingShowsNoKey(t *testing.T) {
	t.Parallel()
	ring := newRing(t, pepper('x'))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		printed := fmt.Sprintf(verb, *ring)
		for _, secret := range []string{"xxxx", "120 120", "0x78, 0x78", "7878"} {
			if strings.Contains(printed, secret) {
				t.Errorf("%s shows the pepper: %s", verb, printed)
			}
		}
	}
}
