package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/email"
	"gatehouse.example/internal/mail"
	"gatehouse.example/internal/wire"
)

type mailCommand struct {
	Log  mailLog  `cmd:"" help:"List the last mails for an account, and what became of them: why did none come?"`
	Test mailTest `cmd:"" help:"Send a mail by the relay of SMTP_URL, and tell each step of the conversation with it."`
}

type mailLog struct {
	adminSettings `embed:""`
	User          string `required:"" help:"Username of the account." placeholder:"NAME"`
	Limit         int    `help:"Most mails to show, the newest first." default:"20"`
	JSON          bool   `help:"Print JSON, one line for each mail."`
}

// Validate implements kong's interface.
func (c *mailLog) Validate() error {
	if c.Limit < 1 || c.Limit > 1000 {
		return errors.New("--limit must be from 1 to 1000")
	}
	return nil
}

// Run lists the mails of an account.
func (c *mailLog) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		mails, err := admin.Mails.Last(ctx, by, auth.ByName(c.User), c.Limit)
		if err != nil {
			return err
		}
		head := []string{"QUEUED", "KIND", "OUTCOME", "TRIES", "DONE", "PROBLEM"}
		return printLines(t, c.JSON, head, mails, wire.MailOf, func(m wire.Mail) []string {
			return []string{timeOr(&m.QueuedAt, ""), m.Kind, m.Outcome, strconv.Itoa(m.Attempts),
				timeOr(m.DoneAt, "-"), quotedOr(m.Problem, "-")}
		})
	})
}

// quotedOr quotes what others wrote, so that it changes nothing on a terminal.
func quotedOr(text, none string) string {
	if text == "" {
		return none
	}
	return strconv.Quote(text)
}

type mailTest struct {
	config.Mail `embed:""`
	AppName     string `env:"APP_NAME" default:"Gatehouse" help:"What the mail calls this installation."`
	JSON        bool   `help:"Print JSON, one line for each step."`
	Address     string `arg:"" help:"Address that gets the mail."`
}

// Run sends one mail. What it prints has no secret.
func (c *mailTest) Run(ctx context.Context, t terminal) error {
	address, err := email.Parse(c.Address)
	if err != nil {
		return fmt.Errorf("the address %w", err)
	}
	var unprinted error // of the output; the mail goes on without it
	relay, err := app.NewRelay(c.Mail, func(step mail.Trace) {
		unprinted = errors.Join(unprinted, c.print(t, step))
	})
	if err != nil {
		return err
	}
	if relay == nil {
		return &config.Error{Setting: "SMTP_URL", Problem: "must be set: without it, no mail is sent"}
	}
	composer, err := app.NewComposer(c.Mail, c.AppName)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	letter := auth.Letter{ID: id, Kind: auth.MailTest, To: address.Mailbox}
	message, err := composer.Compose(letter, time.Now())
	if err != nil {
		return err
	}
	err = errors.Join(relay.Send(ctx, message), relay.Close())
	if err = errors.Join(err, unprinted); err != nil || c.JSON {
		return err
	}
	_, err = fmt.Fprintf(t.out, "The relay has the mail <%s>. Whether it arrives is for the relay to say.\n", message.ID)
	return err
}

func (c *mailTest) print(t terminal, step mail.Trace) error {
	if c.JSON {
		return printJSON(t, step)
	}
	text := step.Text
	if step.Code != 0 {
		text = fmt.Sprintf("%d %s", step.Code, text)
	}
	_, err := fmt.Fprintf(t.out, "%-9s %s\n", step.Step, strings.TrimSpace(text))
	return err
}
