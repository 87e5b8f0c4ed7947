package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"golang.org/x/term"

	"gatehouse/internal/app"
	"gatehouse/internal/auth"
)

type userImport struct {
	adminSettings `embed:""`
	fileFormat    `embed:""`
	File          string `arg:"" help:"File of accounts, or - for standard input."`
	Continue      bool   `help:"Import the good lines although there are bad ones. The exit code still says that there were."`
	JSON          bool   `help:"Print JSON lines: one for each bad line, and the counts last."`
}

// Help is shown under the summary of the command.
func (c *userImport) Help() string {
	return `Each line is an account: a JSON object, or CSV under a first line with the names of the columns. The fields are username
and password_hash, and if they are there disabled (true or false), roles (a list of names; in CSV with spaces between),
created_at (RFC 3339), must_change_password (true or false) and, with it, password_expires_at (RFC 3339). Roles must have been
made before, by gatehouse role set; so may an admin be imported.

A password_hash is bcrypt ($2a$, $2b$ or $2y$) as passlib, PHP and most others write it, also behind {CRYPT} or bcrypt$, or
one of Gatehouse's own from an export, for which PASSWORD_PEPPER must have the key. Other hashes are refused.

If any line is bad, nothing is imported, unless --continue is given. Every bad line is reported by its number. Of lines
with one name the first is good.`
}

// importCount is how an import is printed to have ended.
type importCount struct {
	Imported int `json:"imported"`
	BadLines int `json:"bad_lines"`
}

// Run imports accounts.
func (c *userImport) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		in, name, err := c.open(t)
		if err != nil {
			return err
		}
		defer in.Close()
		p := newProgress(t, in)
		lines, err := newAccountReader(io.TeeReader(interruptible{ctx, in}, p), c.byName(name))
		if err != nil {
			return err
		}
		count, err := admin.Import(ctx, admin.Ring, p.through(lines.all), auth.ImportOptions{
			Continue: c.Continue,
			Report:   func(b auth.BadLine) { p.clear(); c.report(t, b) },
		})
		p.clear()
		if err != nil && !errors.Is(err, auth.ErrBadLines) {
			return err
		}
		return errors.Join(c.summarize(t, importCount{count.Imported, count.Refused}), badLines(count))
	})
}

func (c *userImport) open(t terminal) (in *os.File, name string, err error) {
	if c.File == "-" {
		return t.in, "", nil
	}
	in, err = os.Open(c.File)
	return in, c.File, err
}

func (c *userImport) report(t terminal, b auth.BadLine) {
	if c.JSON {
		_ = printJSONLine(t, b) // what cannot be written now cannot be at the end either, and is an error there
		return
	}
	fmt.Fprintf(t.err, "line %d: %s\n", b.Line, b.Reason)
}

func (c *userImport) summarize(t terminal, count importCount) error {
	if c.JSON {
		return printJSONLine(t, count)
	}
	_, err := fmt.Fprintln(t.out, "accounts imported:", count.Imported)
	return err
}

func badLines(count auth.ImportCount) error {
	switch {
	case count.Refused == 0:
		return nil
	case count.Imported == 0:
		return fmt.Errorf("%w: bad lines: %d", auth.ErrBadLines, count.Refused)
	}
	return fmt.Errorf("bad lines that were left out: %d", count.Refused)
}

// interruptible ends a Read with its context, although nothing ends that of a pipe or a terminal, which may outlive it.
type interruptible struct {
	ctx context.Context
	in  io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	own, read := make([]byte, len(p)), make(chan result, 1)
	go func() {
		n, err := r.in.Read(own)
		read <- result{n, err}
	}()
	select {
	case got := <-read:
		return copy(p, own[:got.n]), got.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// progress shows a person how far an import is, on a line that it draws over and over. Elsewhere it does nothing.
type progress struct {
	to          io.Writer // nil: nowhere
	size, bytes int64     // size is 0 where it is not known, as of a pipe
	drawn       time.Time
}

func newProgress(t terminal, in *os.File) *progress {
	p := &progress{}
	if isTerminal(t.err) {
		p.to = t.err
	}
	if info, err := in.Stat(); err == nil && info.Mode().IsRegular() {
		p.size = info.Size()
	}
	return p
}

// Write counts what was read of the file.
func (p *progress) Write(b []byte) (int, error) {
	p.bytes += int64(len(b))
	return len(b), nil
}

// through draws as lines go by.
func (p *progress) through(lines iter.Seq2[auth.ImportLine, error]) iter.Seq2[auth.ImportLine, error] {
	return func(yield func(auth.ImportLine, error) bool) {
		last := 0
		for line, err := range lines {
			if last = line.Number; time.Since(p.drawn) > time.Second/5 {
				p.draw(last, "")
			}
			if !yield(line, err) {
				return
			}
		}
		p.draw(last, ", storing")
	}
}

const clearLine = "\r\x1b[K" // ECMA-48: EL

func (p *progress) draw(lines int, then string) {
	if p.to == nil {
		return
	}
	p.drawn = time.Now()
	share := ""
	if p.size > 0 {
		share = fmt.Sprintf(" (%d %%)", 100*min(p.bytes, p.size)/p.size)
	}
	fmt.Fprintf(p.to, "%slines read: %d%s%s", clearLine, lines, share, then)
}

// clear makes room for something that stays.
func (p *progress) clear() {
	if p.to != nil {
		fmt.Fprint(p.to, clearLine)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

type userExport struct {
	adminSettings `embed:""`
	fileFormat    `embed:""`
	File          string `arg:"" optional:"" default:"-" help:"File to make, for its owner only; - for standard output, if that is no terminal."`
}

// Help is shown under the summary of the command.
func (c *userExport) Help() string {
	return `The form is that of gatehouse user import, and all accounts are as they were at one moment, with the names of their
roles. What a role permits is not in the file, but in gatehouse role list; nor are sessions.

The file has password hashes: whoever gets it can guess at them. So it is made with mode 0600 and never in place of
another, and does not go to a terminal, which remembers what it has shown.`
}

// Run exports accounts.
func (c *userExport) Run(ctx context.Context, t terminal) error {
	if c.File != "-" {
		return c.toFile(ctx, t)
	}
	if isTerminal(t.out) {
		return errors.New("standard output is a terminal, and there are password hashes in an export: name a FILE, or use a pipe")
	}
	_, err := c.write(ctx, t.out, "")
	return err
}

// toFile leaves no file behind that is not whole: it could be taken for one that is.
func (c *userExport) toFile(ctx context.Context, t terminal) (err error) {
	out, err := os.OpenFile(c.File, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(c.File))
		}
	}()
	defer out.Close() // once more, after a success
	count, err := c.write(ctx, out, c.File)
	if err == nil {
		err = out.Sync()
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.out, "accounts exported:", count)
	return err
}

func (c *userExport) write(ctx context.Context, to io.Writer, name string) (count int, err error) {
	out := bufio.NewWriterSize(to, 64<<10)
	write, err := newAccountWriter(out, c.byName(name))
	if err != nil {
		return 0, err
	}
	err = c.with(ctx, func(admin *app.Admin) error {
		return admin.Export(ctx, func(r auth.UserRecord) error {
			count++
			return write(r)
		})
	})
	if err != nil {
		return count, err
	}
	return count, out.Flush()
}
