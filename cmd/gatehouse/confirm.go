package main

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/term"
)

// confirmation is for commands that cannot be undone.
type confirmation struct {
	Yes bool `help:"Go ahead without a question. Needed where standard input is not a terminal."`
}

// confirm asks whether to go on, and has an error unless the answer is yes.
func (c confirmation) confirm(ctx context.Context, t terminal, question string) error {
	if c.Yes {
		return nil
	}
	if !term.IsTerminal(int(t.in.Fd())) {
		return errors.New("this cannot be undone; give --yes to go ahead without a question")
	}
	answer, err := converse(ctx, t, func(asked *term.Terminal) (string, error) {
		asked.SetPrompt(question + " [y/N] ")
		line, err := asked.ReadLine()
		return line, interrupted(err)
	})
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was done")
}

// converse asks at the terminal. However it ends, it leaves the terminal as it was.
func converse(ctx context.Context, t terminal, questions func(*term.Terminal) (string, error)) (string, error) {
	before, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(t.in.Fd()), before)
	type result struct {
		answer string
		err    error
	}
	answered := make(chan result, 1)
	go func() { // nothing can end the wait for a key, so it may outlive converse
		answer, err := questions(term.NewTerminal(dialogue{t.in, t.err}, ""))
		answered <- result{answer, err}
	}()
	var r result
	select {
	case r = <-answered:
	case <-ctx.Done():
		r.err = errInterrupted
	}
	if errors.Is(r.err, errInterrupted) {
		_, _ = t.err.Write([]byte("\r\n")) // the cursor stands behind a question
	}
	return r.answer, r.err
}
