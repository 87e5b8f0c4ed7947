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

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/userfile"
)

// fileFormat is the flag by which import and export are told the form of their file.
type fileFormat struct {
	Format string `enum:"auto,jsonl,csv" default:"auto" help:"Form of the file: jsonl (JSON lines), csv or auto. auto goes by the name of the file, or else by what is in it, or else takes jsonl."`
}

// of is the form of a file with a name.
func (f fileFormat) of(name string) userfile.Format {
	if f.Format != "auto" {
		return userfile.Format(f.Format)
	}
	return userfile.FormatOf(name)
}

type userImport struct {
	pepperSettings `embed:""`
	fileFormat     `embed:""`
	File           string `arg:"" help:"File of accounts, or - for standard input."`
	Continue       bool   `help:"Import the good lines even if others are bad. The exit code still says that some were bad."`
	JSON           bool   `help:"Print JSON: a line for each bad line, and the counts last."`
}

// Help is shown under the summary of the command.
func (c *userImport) Help() string {
	return `Each line is an account: a JSON object, or a line of CSV under a first line with the names of the columns.
These fields must be there: username and password_hash. These may be there: disabled (true or false), roles (a list of
names, in CSV with spaces between), created_at, must_change_password (true or false) and, with it, password_expires_at,
email and, with it, email_verified (true or false). Two accounts cannot have one verified address, nor can one have as its
username what is the verified address of another. An account whose address is not verified may have verify_until: where
EMAIL is required, it is deleted then if nobody has verified it.

Times are those of RFC 3339, or as PostgreSQL's COPY writes them, with an offset. Roles must exist before: make them by
gatehouse role set. An admin may be imported too.

A password_hash is one of these:

  - bcrypt ($2a$, $2b$ or $2y$) up to cost 16, as passlib, PHP and most others write it
  - Argon2id ($argon2id$v=19$), as FastAPI's tutorial makes it, with m up to 262144, t and p up to 16, and m times t up
    to 1048576
  - a hash of Gatehouse's own from an export, if PASSWORD_PEPPER has its key

There may be a label before bcrypt and Argon2id: {CRYPT}, {bcrypt}, {BLF-CRYPT}, {ARGON2ID} and the like, or bcrypt$ and
argon2$. Any other hash is refused, and the report names its kind.

In CSV a name that begins with = + - or @ has an apostrophe before it, so that no spreadsheet takes it for a formula.

If any line is bad, nothing is imported, unless you say --continue. Each bad line is reported by its number. If several
lines have the same name, the first of them is good.`
}

// importCount is what is printed at the end of an import.
type importCount struct {
	Imported int `json:"imported"`
	BadLines int `json:"bad_lines"`
}

// Run imports accounts.
func (c *userImport) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		in, name, err := c.open(t)
		if err != nil {
			return err
		}
		defer in.Close()
		p := newProgress(t, in)
		lines, err := userfile.NewReader(io.TeeReader(interruptible{ctx, in}, p), c.of(name))
		if err != nil {
			return err
		}
		count, err := admin.Transfer.Import(ctx, by, p.through(lines.All), auth.ImportOptions{
			Continue: c.Continue,
			Report:   func(b auth.BadLine) { p.clear(); c.report(t, b) },
		})
		p.clear()
		if err != nil && !errors.Is(err, auth.ErrBadLines) {
			return err
		}
		warnOfDear(t, count)
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
		_ = printJSON(t, b) // what cannot be written now cannot be at the end either, and is an error there
		return
	}
	fmt.Fprintf(t.err, "line %d: %s\n", b.Line, b.Reason)
}

func (c *userImport) summarize(t terminal, count importCount) error {
	if c.JSON {
		return printJSON(t, count)
	}
	_, err := fmt.Fprintln(t.out, "accounts imported:", count.Imported)
	return err
}

// warnOfDear warns of accounts that strangers can tell by the time that a refusal takes.
func warnOfDear(t terminal, count auth.ImportCount) {
	if count.Imported > 0 && count.Dear > 0 {
		fmt.Fprintf(t.err, "warning: hashes of bcrypt cost 15 or 16: %d. Refused logins are held back by a second at most, so these show "+
			"by their time that the accounts exist, until their owners have logged in\n", count.Dear)
	}
}

func badLines(count auth.ImportCount) error {
	switch {
	case count.Refused == 0:
		return nil
	case count.Imported == 0:
		return outcome.Detail(auth.ErrBadLines, "bad lines: %d", count.Refused)
	}
	return fmt.Errorf("bad lines that were left out: %d", count.Refused)
}

// interruptible ends a Read when its context ends. Nothing else ends a Read of a pipe or a
// terminal. The Read itself goes on, and what it reads is dropped.
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

// progress shows how far a long work is, on one line of the terminal that it draws again and again.
// Where there is no terminal, it does nothing.
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
	if in == nil {
		return p
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
			last = line.Number
			p.tick("lines read: %d%s", last, p.share())
			if !yield(line, err) {
				return
			}
		}
		p.draw("lines read: %d%s, storing", last, p.share())
	}
}

const clearLine = "\r\x1b[K" // ECMA-48: EL

// tick draws, unless something was drawn just before.
func (p *progress) tick(format string, args ...any) {
	if time.Since(p.drawn) > time.Second/5 {
		p.draw(format, args...)
	}
}

func (p *progress) draw(format string, args ...any) {
	if p.to == nil {
		return
	}
	p.drawn = time.Now()
	fmt.Fprintf(p.to, clearLine+format, args...)
}

// share is how much of the file was read, where its size is known.
func (p *progress) share() string {
	if p.size == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d %%)", 100*min(p.bytes, p.size)/p.size)
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
	File          string `arg:"" optional:"" default:"-" help:"File to make, or - for standard output if that is no terminal."`
}

// Help is shown under the summary of the command.
func (c *userExport) Help() string {
	return `The file has the form that gatehouse user import takes. It has all accounts as they were at one moment, with the
names of their roles. It does not have what a role permits, which gatehouse role list shows. It has no sessions.

The file has password hashes. Whoever gets it can guess at them. So only its owner may read it (mode 0600), and it never
replaces a file. It does not go to a terminal, which remembers what it has shown.`
}

// Run exports accounts.
func (c *userExport) Run(ctx context.Context, t terminal, by auth.Actor) error {
	if c.File != "-" {
		return c.toFile(ctx, t, by)
	}
	if isTerminal(t.out) {
		return errors.New("an export has password hashes, and standard output is a terminal; name a FILE, or use a pipe")
	}
	_, err := c.write(ctx, by, t.out, "")
	return err
}

// toFile removes the file if the export fails. Somebody could take a part for the whole.
func (c *userExport) toFile(ctx context.Context, t terminal, by auth.Actor) (err error) {
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
	count, err := c.write(ctx, by, out, c.File)
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

func (c *userExport) write(ctx context.Context, by auth.Actor, to io.Writer, name string) (count int, err error) {
	out := bufio.NewWriterSize(to, 64<<10)
	file, err := userfile.NewWriter(out, c.of(name))
	if err != nil {
		return 0, err
	}
	err = c.with(ctx, func(admin *app.Admin) error {
		return admin.Transfer.Export(ctx, by, func(r auth.UserRecord) error {
			count++
			return file.Write(r)
		})
	})
	if err != nil {
		return count, err
	}
	return count, out.Flush()
}
