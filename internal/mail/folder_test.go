package mail

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/mail/mailtest"
)

// The files have links that are good for a new password. Another user of the machine must not read
// them.
func TestAFolderKeepsMailsForItsOwnerAndTellsWhereTheyAre(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "mail")
	var out bytes.Buffer
	f := NewFolder(dir, &out)
	for _, kind := range auth.MailKinds() {
		out.Reset()
		l := sample(kind)
		m, err := composer(t).Compose(l, noon())
		must(t, err)
		for range 2 { // a job that is tried again
			must(t, f.Send(t.Context(), m))
		}
		path := filepath.Join(dir, string(kind)+"-"+l.ID.String()+".eml")
		source, err := os.ReadFile(path)
		must(t, err)
		if _, err := mailtest.Parse(source); err != nil || !bytes.Equal(source, m.Source) {
			t.Errorf("%s: %v", kind, err)
		}
		info, err := os.Stat(path)
		must(t, err)
		folder, err := os.Stat(dir)
		must(t, err)
		if info.Mode().Perm() != 0o600 || folder.Mode().Perm() != 0o700 {
			t.Errorf("modes %v and %v", info.Mode(), folder.Mode())
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 2 {
			t.Fatalf("%s: told in %d lines:\n%s", kind, len(lines), out.String())
		}
		for _, told := range []string{path, l.To, l.Link, strings.TrimPrefix(shownCode(l.Code), "-")} {
			if !strings.Contains(lines[0], told) {
				t.Errorf("%s: %q is not in %s", kind, told, lines[0])
			}
		}
	}
}
