package main

import (
	"context"
	"io"
	"os"

	"gatehouse.example/internal/breached"
)

type passwordsCommand struct {
	Build passwordsBuild `cmd:"" help:"Make the file for BREACHED_PASSWORDS from lists of hashes."`
}

type passwordsBuild struct {
	Out   string   `required:"" placeholder:"FILE" help:"File to make. One of its name is replaced when the new one is whole."`
	Lists []string `arg:"" optional:"" default:"-" name:"list" help:"Lists of SHA-1 hashes, or - for standard input."`
	JSON  bool     `help:"Print JSON."`
}

// Help is shown under the summary of the command.
func (c *passwordsBuild) Help() string {
	return `Each line of a list is the SHA-1 hash of a password, in 40 hexadecimal digits, alone or with a colon and a count. That is
the form of the list of Have I Been Pwned. The order does not matter. A hash may be there often, and in several lists.
One whose count is 0 is left out.

The file has 4.6 bytes for each hash. While it is made, the folder needs 8 more for each. The command needs 250 MiB of
memory for a billion, and 100 MiB for 100 million. No password can be read from the file, but whoever has it can try
passwords with it, as with the list.

It is for machines with the same order of bytes. A replica reads it at its start, and goes on with what it has read. To
change it, make a new one under the same name, and restart the replicas.`
}

// builtFile is what is printed.
type builtFile struct {
	File      string `json:"file"`
	Passwords uint64 `json:"passwords"`
	Bytes     uint64 `json:"bytes"`
}

// Run makes the file.
func (c *passwordsBuild) Run(ctx context.Context, t terminal) error {
	builder, err := breached.NewBuilder(c.Out)
	if err != nil {
		return err
	}
	defer builder.Close()
	for _, list := range c.Lists {
		if err := c.read(ctx, t, builder, list); err != nil {
			return err
		}
	}
	p := newProgress(t, nil)
	built, err := builder.Write(ctx, func(done, of int) { p.tick("parts made: %d of %d", done, of) })
	p.clear()
	if err != nil {
		return err
	}
	return printDone(t, c.JSON, "leaked passwords in "+c.Out, built.Passwords,
		builtFile{c.Out, built.Passwords, built.Bytes})
}

func (c *passwordsBuild) read(ctx context.Context, t terminal, builder *breached.Builder, list string) error {
	in, name := t.in, "standard input"
	if list != "-" {
		file, err := os.Open(list)
		if err != nil {
			return err
		}
		defer file.Close()
		in, name = file, list
	}
	p := newProgress(t, in)
	defer p.clear()
	return builder.Read(ctx, name, io.TeeReader(interruptible{ctx, in}, p), func(lines int) {
		p.tick("%s: lines read: %d%s", name, lines, p.share())
	})
}
