package mail

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Folder is a relay for a developer's machine. It writes each mail into a file, and tells where it
// is, with the code and the link in it: secrets, which no other relay tells anybody.
type Folder struct {
	dir string
	out io.Writer
}

// NewFolder makes the folder with the first mail.
func NewFolder(dir string, out io.Writer) *Folder { return &Folder{dir, out} }

// Send implements [Relay].
func (f *Folder) Send(ctx context.Context, m Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(f.dir, fmt.Sprintf("%s-%s.eml", m.Letter.Kind, m.Letter.ID))
	if err := os.WriteFile(path, m.Source, 0o600); err != nil {
		return err
	}
	told := []string{"Mail (" + string(m.Letter.Kind) + ") to " + clean(m.Letter.To) + ": " + path}
	if m.Letter.Code != "" {
		told = append(told, "code "+shownCode(m.Letter.Code))
	}
	if m.Letter.Link != "" {
		told = append(told, clean(m.Letter.Link))
	}
	_, err := fmt.Fprintln(f.out, strings.Join(told, "  "))
	return err
}
