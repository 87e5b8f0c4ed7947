package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/wire"
)

type auditCommand struct {
	Show  auditShow  `cmd:"" default:"withargs" help:"Show what was done and what was refused, the newest last. This is what gatehouse audit does by default."`
	Prune auditPrune `cmd:"" help:"Drop old months of the audit log, and blank what is personal of deleted accounts. Only the role that owns the schema may do it."`
}

type auditShow struct {
	adminSettings `embed:""`
	User          string      `help:"Only what was done to this account." placeholder:"NAME|ID"`
	Actor         string      `help:"Only what this account did, or what this kind of actor did: anonymous, client, operator or service. operator:NAME is one operator, and user:NAME an account with the name of a kind." placeholder:"NAME|ID|KIND"`
	Action        auth.Action `help:"Only this action, such as login or role.grant." placeholder:"ACTION"`
	Outcome       string      `help:"Only this outcome, such as success or wrong_password." placeholder:"OUTCOME"`
	RequestID     string      `help:"Only what this request did. Its answer has the id as X-Request-Id." placeholder:"ID"`
	Since         moment      `help:"Only what happened since then: a time of RFC 3339, or how long ago, such as 90m or 7d." placeholder:"TIME|AGE"`
	Until         moment      `help:"Only what happened before then." placeholder:"TIME|AGE"`
	Limit         int         `help:"Most events to show. They are the newest." default:"100"`
	Follow        bool        `short:"f" help:"Go on, and show what happens from now on."`
	JSON          bool        `help:"Print JSON, one line for each event."`
}

// Validate implements kong's interface. A misspelt word would find no events, as if nothing had
// happened.
func (c *auditShow) Validate() error {
	if c.Action != "" && !slices.Contains(auth.Actions(), c.Action) {
		return fmt.Errorf("--action must be one of %s", joined(auth.Actions()))
	}
	if c.Outcome != "" && !slices.Contains(auth.Outcomes(), c.Outcome) {
		return fmt.Errorf("--outcome must be one of %s", joined(auth.Outcomes()))
	}
	return nil
}

func joined[W ~string](words []W) string {
	var list []string
	for _, w := range words {
		list = append(list, string(w))
	}
	return strings.Join(list, ", ")
}

// eventHead is the head of what rowOf makes.
func eventHead() []string {
	return []string{"TIME", "ACTION", "OUTCOME", "COUNT", "USER", "BY", "CLIENT", "REQUEST", "TARGET", "AGENT"}
}

// userActor stands before the name of an account that could be taken for another actor. In --actor
// it may stand before any name.
const userActor = "user:"

// rowOf returns cells without spaces, and quotes the last column. Others choose names and user
// agents, so either could look like more columns.
func rowOf(e wire.Event) []string {
	by := string(e.Actor.Kind)
	switch {
	case e.Actor.Operator != nil:
		by = "operator:" + plain(*e.Actor.Operator)
	case e.Actor.Kind == auth.ActorClient: // which may be named like a user
		by = "client:" + who(e.Actor.User)
	case e.Actor.User != nil:
		by = who(e.Actor.User)
		// An account may have the name of a kind, or one that reads operator:NAME.
		if strings.Contains(by, ":") || slices.Contains(auth.ActorKinds(), auth.ActorKind(by)) {
			by = userActor + by
		}
	}
	return []string{
		e.At.Format("2006-01-02T15:04:05.000Z"), string(e.Action), e.Outcome, strconv.FormatInt(e.Count, 10), who(e.User), by,
		plain(e.ClientAddress), plain(e.RequestID), plain(e.Target), strconv.Quote(e.UserAgent),
	}
}

// who is the name of a user, or the id of one who is gone.
func who(u *wire.Subject) string {
	switch {
	case u == nil:
		return "-"
	case u.Username == nil:
		return u.ID.String()
	}
	return plain(*u.Username)
}

// plain quotes text that a terminal might not show as it is, or whose end could not be seen.
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
		if c.Follow {
			p := c.printer(t)
			if err := p.print(); err != nil {
				return err
			}
			show := func(e auth.RecordedEvent) error { return p.print(wire.EventOf(e)) }
			err = admin.Audit.FollowEvents(ctx, filter, max(c.Limit, 1), show)
			if ctx.Err() != nil { // Ctrl-C is how it ends
				return nil
			}
			return err
		}
		events, err := admin.Audit.LastEvents(ctx, filter, c.Limit)
		if err != nil {
			return err
		}
		lines := make([]wire.Event, len(events))
		for n, e := range events {
			lines[n] = wire.EventOf(e)
		}
		p := c.printer(t)
		p.fit(lines...)
		return p.print(lines...)
	})
}

func (c *auditShow) printer(t terminal) *list[wire.Event] {
	p := &list[wire.Event]{t: t, asJSON: c.JSON, head: eventHead(), row: rowOf}
	p.table.fit([]string{"2006-01-02T15:04:05.000Z", "session.end", "session_not_found"}) // so that what comes later moves little
	return p
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
	if name, ok := strings.CutPrefix(c.Actor, string(auth.ActorOperator)+":"); ok {
		f.Actor, f.Operator = auth.ActorOperator, name
		return f, nil
	}
	if kind := auth.ActorKind(c.Actor); slices.Contains(auth.ActorKinds(), kind) {
		f.Actor = kind
		return f, nil
	}
	if name, ok := strings.CutPrefix(c.Actor, userActor); ok {
		user, err := admin.Accounts.Find(ctx, auth.ByName(name))
		f.ActorID = user.ID
		return f, err
	}
	f.ActorID, err = findUser(ctx, admin, c.Actor)
	return f, err
}

// findUser returns the id of a user who is given by name or by id. A deleted user has an id alone.
func findUser(ctx context.Context, admin *app.Admin, given string) (uuid.UUID, error) {
	if given == "" {
		return uuid.Nil, nil
	}
	if id, err := uuid.Parse(given); err == nil {
		return id, nil
	}
	user, err := admin.Accounts.Find(ctx, auth.ByName(given))
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
		return fmt.Errorf("%q is not a time of RFC 3339, and not an age such as 90m or 7d", text)
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
		return fmt.Errorf("%q is not an age such as 90m, 24h or 7d", given)
	}
	*a = age(d)
	return nil
}

type auditPrune struct {
	adminSettings `embed:""`
	OlderThan     age  `required:"" help:"Drop the months that ended longer ago than this, such as 365d." placeholder:"AGE"`
	Refusals      bool `help:"Drop no month. Delete the refusals that are older than that, one by one, also those of the current month."`
	Deleted       age  `default:"30d" help:"Blank addresses, programs, requests and sessions of accounts that were deleted longer ago than this."`
	JSON          bool `help:"Print JSON."`
}

// prunedLine is what was taken out, as it is printed.
type prunedLine struct {
	Months   []string `json:"months_dropped"`
	Refusals int64    `json:"refusals_deleted"`
	Blanked  int64    `json:"events_blanked"`
}

// Run makes the log smaller.
func (c *auditPrune) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		pruned, err := admin.Audit.Prune(ctx, by, auth.Prune{
			OlderThan: time.Duration(c.OlderThan), Refusals: c.Refusals, Deleted: time.Duration(c.Deleted),
		})
		if err != nil {
			return err
		}
		l := prunedLine{append([]string{}, pruned.Months...), pruned.Refusals, pruned.Blanked}
		if c.JSON {
			return printJSON(t, l)
		}
		if c.Refusals {
			fmt.Fprintln(t.out, "refusals deleted:", l.Refusals)
		} else {
			fmt.Fprintln(t.out, "months dropped:", cmp.Or(strings.Join(l.Months, " "), "none"))
		}
		_, err = fmt.Fprintln(t.out, "events of deleted accounts blanked:", l.Blanked)
		return err
	})
}

// operator is the actor of a command. Nothing proves the name: whoever can run the command has the
// database's password, and could write any name.
func operator() auth.Actor { return auth.Operator(operatorName()) }

func operatorName() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	current, err := user.Current()
	if err != nil {
		return ""
	}
	return current.Username
}

// origin is where a command runs.
func origin() auth.Origin {
	host, _ := os.Hostname()
	return auth.Origin{RequestID: rand.Text(), UserAgent: "gatehouse " + buildVersion() + " (" + operatorName() + "@" + host + ")"}
}
