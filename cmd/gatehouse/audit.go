package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"gatehouse/internal/app"
	"gatehouse/internal/auth"
)

type auditCommand struct {
	Show  auditShow  `cmd:"" default:"withargs" help:"Show what was done and what was refused, the newest last (the default)."`
	Prune auditPrune `cmd:"" help:"Drop the months that ended so long ago. Only the role that owns the schema may."`
}

type auditShow struct {
	adminSettings `embed:""`
	User          string      `help:"Only what was done to this account." placeholder:"NAME|ID"`
	Actor         string      `help:"Only what this account did." placeholder:"NAME|ID"`
	Action        auth.Action `help:"Only this action, such as login or role.grant." placeholder:"ACTION"`
	Outcome       string      `help:"Only this outcome, such as success or wrong_password." placeholder:"OUTCOME"`
	RequestID     string      `help:"Only what came of this request, as its answer names it in X-Request-Id." placeholder:"ID"`
	Since         moment      `help:"Only from then on: a time of RFC 3339, or how long ago, such as 90m or 7d." placeholder:"TIME|AGE"`
	Until         moment      `help:"Only before then." placeholder:"TIME|AGE"`
	Limit         int         `help:"Show at most so many, the newest." default:"100"`
	Follow        bool        `short:"f" help:"Go on with what happens from now."`
	JSON          bool        `help:"Print JSON, one line for each event."`
}

// eventLine is an event as it is printed.
type eventLine struct {
	ID            int64       `json:"id"`
	At            time.Time   `json:"at"`
	Action        auth.Action `json:"action"`
	Outcome       string      `json:"outcome"`
	Actor         string      `json:"actor"`
	ActorID       *uuid.UUID  `json:"actor_id"`
	ActorName     *string     `json:"actor_name"`
	UserID        *uuid.UUID  `json:"user_id"`
	UserName      *string     `json:"user_name"`
	Target        string      `json:"target"`
	RequestID     string      `json:"request_id"`
	ClientAddress string      `json:"client_address"`
	UserAgent     string      `json:"user_agent"`
}

func lineOfEvent(e auth.RecordedEvent) eventLine {
	return eventLine{
		e.ID, e.At.UTC(), e.Action, e.Outcome, e.Actor, orNull(e.ActorID), orNull(e.ActorName), orNull(e.UserID), orNull(e.UserName),
		e.Target, e.RequestID, e.Address, e.UserAgent,
	}
}

func orNull[T comparable](v T) *T {
	var unset T
	if v == unset {
		return nil
	}
	return &v
}

// text is one line whatever is in it: names and user agents are what others have chosen.
func (l eventLine) text() string {
	by := l.Actor
	if l.ActorID != nil {
		by = who(l.ActorID, l.ActorName)
		if l.Actor == auth.ActorClient { // which may be named like a user
			by = "client:" + by
		}
	}
	return fmt.Sprintf("%s  %-15s  %-16s  user=%s  by=%s  client=%s  request=%s  target=%s  agent=%s",
		l.At.Format("2006-01-02T15:04:05.000Z"), l.Action, l.Outcome, who(l.UserID, l.UserName), by, plain(l.ClientAddress),
		plain(l.RequestID), plain(l.Target), strconv.Quote(l.UserAgent))
}

// who is the name of a user, or the id of one who is gone.
func who(id *uuid.UUID, name *string) string {
	switch {
	case id == nil:
		return "-"
	case name == nil:
		return id.String()
	}
	return plain(*name)
}

// plain is text as it is, if a terminal shows it as it is and its end can be seen; else quoted.
func plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return r == '"' || unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return cmp.Or(text, "-")
}

// Run shows events.
func (c *auditShow) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		filter, err := c.filter(ctx, admin)
		if err != nil {
			return err
		}
		show := func(e auth.RecordedEvent) error {
			if c.JSON {
				return printJSONLine(t, lineOfEvent(e))
			}
			_, err := fmt.Fprintln(t.out, lineOfEvent(e).text())
			return err
		}
		if c.Follow {
			err := admin.FollowEvents(ctx, filter, max(c.Limit, 1), show)
			if ctx.Err() != nil { // Ctrl-C is how it ends
				return nil
			}
			return err
		}
		events, err := admin.LastEvents(ctx, filter, c.Limit)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := show(e); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *auditShow) filter(ctx context.Context, admin *app.Admin) (auth.EventFilter, error) {
	now := time.Now()
	f := auth.EventFilter{
		Action: c.Action, Outcome: c.Outcome, RequestID: c.RequestID, Since: c.Since.before(now), Until: c.Until.before(now),
	}
	var err error
	if f.UserID, err = findUser(ctx, admin, c.User); err != nil {
		return f, err
	}
	f.ActorID, err = findUser(ctx, admin, c.Actor)
	return f, err
}

// findUser is the id of a user by name, or the id itself: that of somebody who is gone has no name.
func findUser(ctx context.Context, admin *app.Admin, given string) (uuid.UUID, error) {
	if given == "" {
		return uuid.Nil, nil
	}
	if id, err := uuid.Parse(given); err == nil {
		return id, nil
	}
	user, err := admin.User(ctx, given)
	return user.ID, err
}

// moment is a time, or an age.
type moment struct {
	at  time.Time
	age age
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) error {
	if m.age.UnmarshalText(text) == nil {
		return nil
	}
	var err error
	if m.at, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return fmt.Errorf("%q is neither a time of RFC 3339 nor an age such as 90m or 7d", text)
	}
	return nil
}

func (m moment) before(now time.Time) time.Time {
	if m.age > 0 {
		return now.Add(-time.Duration(m.age))
	}
	return m.at
}

// age is a duration that may be in days.
type age time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *age) UnmarshalText(text []byte) error {
	given := string(text)
	if days, ok := strings.CutSuffix(given, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 36500 {
			*a = age(n) * age(24*time.Hour)
			return nil
		}
	}
	d, err := time.ParseDuration(given)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is no age such as 90m, 24h or 7d", given)
	}
	*a = age(d)
	return nil
}

type auditPrune struct {
	adminSettings `embed:""`
	OlderThan     age `required:"" help:"How long ago a month must have ended, such as 365d." placeholder:"AGE"`
}

// Run drops old months.
func (c *auditPrune) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		months, err := admin.PruneEvents(ctx, time.Duration(c.OlderThan))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(t.out, "months dropped:", cmp.Or(strings.Join(months, " "), "none"))
		return err
	})
}

// operator is who runs a command, for the audit log. It cannot be verified: whoever can run it has the database's password.
func operator() auth.Origin {
	name := os.Getenv("SUDO_USER")
	if current, err := user.Current(); err == nil && name == "" {
		name = current.Username
	}
	host, _ := os.Hostname()
	return auth.Origin{Actor: auth.ActorOperator, RequestID: rand.Text(), UserAgent: "gatehouse " + buildVersion() + " (" + name + "@" + host + ")"}
}
