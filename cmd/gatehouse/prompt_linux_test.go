package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// console is a pseudo-terminal: the program has one end, a person the other.
type console struct {
	*testing.T
	person, program *os.File
	seen            bytes.Buffer
}

// newConsole goes to the system for a pair: the two calls of unlockpt(3) and ptsname(3).
func newConsole(t *testing.T) *console {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	person := os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return &console{T: t, person: person, program: program}
}

// end is written after the program has ended.
const end = "<end>"

// start runs the program on the console. The channel gets its exit code.
func (c *console) start(ctx context.Context, args ...string) <-chan int {
	ended := make(chan int, 1)
	go func() {
		ended <- runHere(ctx, args, terminal{in: c.program, out: c.program, err: c.program})
		_, _ = c.program.WriteString(end)
	}()
	return ended
}

// await reads until the program has written something, or has ended without.
func (c *console) await(text string) {
	c.Helper()
	buffer := make([]byte, 1024)
	for !strings.Contains(c.seen.String(), text) {
		if strings.Contains(c.seen.String(), end) {
			c.Fatalf("there is no %q in %q", text, c.seen.String())
		}
		n, err := c.person.Read(buffer)
		c.seen.Write(buffer[:n])
		if err != nil {
			c.Fatalf("%v, after %q", err, c.seen.String())
		}
	}
}

func (c *console) enter(keys string) {
	c.Helper()
	if _, err := c.person.WriteString(keys); err != nil {
		c.Fatal(err)
	}
}

func (c *console) modes() unix.Termios {
	c.Helper()
	modes, err := unix.IoctlGetTermios(int(c.program.Fd()), unix.TCGETS)
	if err != nil {
		c.Fatal(err)
	}
	return *modes
}

// ends wants an exit code and the modes of before.
func (c *console) ends(ended <-chan int, code int, before unix.Termios) {
	c.Helper()
	c.await(end)
	if got := <-ended; got != code {
		c.Errorf("exit code %d, want %d", got, code)
	}
	if after := c.modes(); after != before {
		c.Errorf("the terminal is left as %+v; it was %+v", after, before)
	}
}

func TestPasswordIsAskedForTwiceWithoutEcho(t *testing.T) {
	t.Parallel()
	a, c := newAccounts(t), newConsole(t)
	before := c.modes()
	ended := c.start(t.Context(), append([]string{"user", "add", "alice"}, a.flags...)...)
	c.await("Password: ")
	c.enter("correct horsf\x7fe battery\r")
	c.await("Again: ")
	c.enter(goodPassword + "\r")
	c.ends(ended, exitOK, before)
	c.await(`"alice"`)
	if shown := c.seen.String(); strings.Contains(shown, "horse") || strings.Contains(shown, "battery") {
		t.Errorf("echoed: %q", shown)
	}
	if !a.hasPassword("alice", goodPassword) {
		t.Error("what was typed is not the password")
	}
}

// Keys that were typed or pasted ahead of the second question must count for it.
func TestPasswordsPastedAtOnceAreBothRead(t *testing.T) {
	t.Parallel()
	a, c := newAccounts(t), newConsole(t)
	before := c.modes()
	ended := c.start(t.Context(), append([]string{"user", "add", "alice"}, a.flags...)...)
	c.await("Password: ")
	c.enter(goodPassword + "\r" + goodPassword + "\r")
	c.ends(ended, exitOK, before)
}

func TestPasswordsThatDifferAreRefused(t *testing.T) {
	t.Parallel()
	a, c := newAccounts(t), newConsole(t)
	a.insert("alice")
	stored, before := a.storedHash("alice"), c.modes()
	ended := c.start(t.Context(), append([]string{"user", "password", "alice"}, a.flags...)...)
	c.await("Password: ")
	c.enter("staple horse battery\r")
	c.await("Again: ")
	c.enter("stable horse battery\r")
	c.ends(ended, exitFailed, before)
	c.await("not the same")
	if a.storedHash("alice") != stored {
		t.Error("the password was replaced")
	}
}

// A terminal that is left without echo looks dead to its user.
func TestInterruptedQuestionGivesTheTerminalBack(t *testing.T) {
	t.Parallel()
	const ctrlC, ctrlD = "\x03", "\x04"
	for name, interrupt := range map[string]func(*console, context.CancelFunc){
		"Ctrl-C":              func(c *console, _ context.CancelFunc) { c.enter("typed" + ctrlC) },
		"Ctrl-D":              func(c *console, _ context.CancelFunc) { c.enter(ctrlD) },
		"signal":              func(_ *console, cancel context.CancelFunc) { cancel() },
		"second, with Ctrl-C": func(c *console, _ context.CancelFunc) { c.enter("typed\r"); c.await("Again: "); c.enter(ctrlC) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, c := newAccounts(t), newConsole(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			before := c.modes()
			ended := c.start(ctx, append([]string{"user", "add", "alice"}, a.flags...)...)
			c.await("Password: ")
			interrupt(c, cancel)
			c.ends(ended, exitFailed, before)
			c.await("\ngatehouse: interrupted")
		})
	}
}
