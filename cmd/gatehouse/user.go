package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"

	"gatehouse/internal/app"
	"gatehouse/internal/auth"
	"gatehouse/internal/config"
)

type userCommand struct {
	Add        userAdd        `cmd:"" help:"Make an account."`
	List       userList       `cmd:"" help:"List accounts."`
	Show       userShow       `cmd:"" help:"Show an account."`
	Disable    userDisable    `cmd:"" help:"Bar an account from logging in, and revoke its tokens."`
	Enable     userEnable     `cmd:"" help:"Let an account log in again."`
	Delete     userDelete     `cmd:"" help:"Delete an account for good. Its name is never given to another."`
	Role       userRole       `cmd:"" help:"Give an account a role, or take it."`
	MustChange userMustChange `cmd:"" help:"Have the owner of an account change the password at the next login, and revoke its tokens."`
	Password   userPassword   `cmd:"" help:"Give an account another password, and revoke its tokens."`
	Unlock     userUnlock     `cmd:"" help:"Let an account log in again that has had too many failed logins."`
	Sessions   userSessions   `cmd:"" help:"List the sessions of an account."`
	Logout     userLogout     `cmd:"" help:"End all sessions of an account."`
	Import     userImport     `cmd:"" help:"Make accounts of a file, with their password hashes."`
	Export     userExport     `cmd:"" help:"Write all accounts to a file, with their password hashes."`
}

// adminSettings are what a command needs to reach the accounts.
type adminSettings struct {
	config.Database  `embed:""`
	config.Passwords `embed:""`
}

func (s adminSettings) with(ctx context.Context, do func(*app.Admin) error) error {
	admin, err := app.OpenAdmin(ctx, s.Database, s.Passwords)
	if err != nil {
		return err
	}
	defer admin.Close()
	return do(admin)
}

// showUser runs an operation on one user, and prints the user.
func (s adminSettings) showUser(ctx context.Context, t terminal, asJSON bool, do func(*app.Admin) (auth.User, error)) error {
	return s.with(ctx, func(admin *app.Admin) error {
		user, err := do(admin)
		if err != nil {
			return err
		}
		return lineOf(user).print(t, asJSON)
	})
}

type userAdd struct {
	adminSettings `embed:""`
	passwordInput `embed:""`
	Name          string   `arg:"" help:"Username."`
	Role          []string `help:"Role of the account; may be repeated. The built-in role is admin." placeholder:"ROLE"`
	JSON          bool     `help:"Print JSON."`
}

// Run makes an account.
func (c *userAdd) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.ClaimPasswordKeys(ctx); err != nil {
			return err
		}
		return c.give(ctx, t, c.JSON, func(pw string) (auth.User, string, error) {
			switch {
			case c.InitialSecret:
				return admin.RegisterInitial(ctx, c.Name, c.Role...)
			case c.MustChange:
				user, err := admin.RegisterTemporary(ctx, c.Name, pw, c.Role...)
				return user, "", err
			}
			user, err := admin.Register(ctx, c.Name, pw, c.Role...)
			return user, "", err
		})
	})
}

type userPassword struct {
	adminSettings `embed:""`
	passwordInput `embed:""`
	Name          string `arg:"" help:"Username."`
	JSON          bool   `help:"Print JSON."`
}

// Run replaces a password.
func (c *userPassword) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.ClaimPasswordKeys(ctx); err != nil {
			return err
		}
		if _, err := admin.User(ctx, c.Name); err != nil { // before the question for a password
			return err
		}
		return c.give(ctx, t, c.JSON, func(pw string) (auth.User, string, error) {
			switch {
			case c.InitialSecret:
				return admin.SetInitialSecret(ctx, c.Name)
			case c.MustChange:
				user, err := admin.SetTemporaryPassword(ctx, c.Name, pw)
				return user, "", err
			}
			user, err := admin.SetPassword(ctx, c.Name, pw)
			return user, "", err
		})
	})
}

type userMustChange struct {
	oneUser `embed:""`
}

// Run has the owner of an account change the password.
func (c *userMustChange) Run(ctx context.Context, t terminal) error {
	return c.run(ctx, t, (*auth.Service).RequirePasswordChange)
}

type userShow struct {
	oneUser `embed:""`
}

// Run shows an account.
func (c *userShow) Run(ctx context.Context, t terminal) error {
	return c.run(ctx, t, (*auth.Service).User)
}

type userDisable struct {
	oneUser `embed:""`
}

// Run disables an account.
func (c *userDisable) Run(ctx context.Context, t terminal) error {
	return c.run(ctx, t, (*auth.Service).Disable)
}

type userEnable struct {
	oneUser `embed:""`
}

// Run enables an account.
func (c *userEnable) Run(ctx context.Context, t terminal) error {
	return c.run(ctx, t, (*auth.Service).Enable)
}

type userUnlock struct {
	oneUser        `embed:""`
	config.Secrets `embed:""`
}

// Run makes the failures of an account undone.
func (c *userUnlock) Run(ctx context.Context, t terminal) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) { return admin.Unlock(ctx, c.Name, c.Secrets) })
}

// oneUser is a command on a name.
type oneUser struct {
	adminSettings `embed:""`
	Name          string `arg:"" help:"Username."`
	JSON          bool   `help:"Print JSON."`
}

func (c oneUser) run(ctx context.Context, t terminal, do func(*auth.Service, context.Context, string) (auth.User, error)) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) { return do(admin.Service, ctx, c.Name) })
}

type userList struct {
	adminSettings `embed:""`
	Prefix        string `help:"Only names that begin so, in any letter case or width." placeholder:"NAME"`
	State         string `help:"Only accounts that are enabled, or disabled." enum:"any,enabled,disabled" default:"any"`
	Role          string `help:"Only accounts that have this role." placeholder:"ROLE"`
	JSON          bool   `help:"Print JSON, one line for each account."`
}

func (c *userList) filter() auth.UserFilter {
	f := auth.UserFilter{Prefix: c.Prefix, Role: c.Role}
	if c.State != "any" {
		disabled := c.State == "disabled"
		f.Disabled = &disabled
	}
	return f
}

// pageSize is how many users one query reads.
const pageSize = 500

// Run lists accounts, as many at a time as fit into memory however many there are.
func (c *userList) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		// Fixed columns: aligning by content would mean to hold every row.
		const format = "%-36s  %-8s  %-20s  %s\n"
		for after := ""; ; {
			users, err := admin.FindUsers(ctx, c.filter(), after, pageSize)
			if err != nil {
				return err
			}
			if after == "" && !c.JSON {
				fmt.Fprintf(t.out, format, "ID", "DISABLED", "CREATED", "USERNAME")
			}
			for _, u := range users {
				if l := lineOf(u); c.JSON {
					err = printJSONLine(t, l)
				} else {
					_, err = fmt.Fprintf(t.out, format, l.ID, yesNo(l.Disabled), timeOr(&l.CreatedAt, ""), strconv.Quote(l.Username))
				}
				if err != nil {
					return err
				}
			}
			if len(users) < pageSize {
				return nil
			}
			after = users[len(users)-1].Username.Key
		}
	})
}

// userLine is a user as it is printed.
type userLine struct {
	ID           uuid.UUID  `json:"id"`
	Username     string     `json:"username"`
	Roles        []string   `json:"roles"`
	Disabled     bool       `json:"disabled"`
	DisabledAt   *time.Time `json:"disabled_at"`
	TokenVersion int64      `json:"token_version"`
	CreatedAt    time.Time  `json:"created_at"`
	UpdatedAt    time.Time  `json:"updated_at"`

	MustChangePassword bool       `json:"must_change_password"`
	PasswordExpiresAt  *time.Time `json:"password_expires_at"`
	InitialSecret      string     `json:"initial_secret,omitempty"` // once, when it is made
}

func lineOf(u auth.User) userLine {
	return userLine{
		u.ID, u.Username.Given, u.Roles, u.Disabled(), u.DisabledAt, u.TokenVersion, u.CreatedAt, u.UpdatedAt,
		u.MustChangePassword, u.PasswordExpiresAt, "",
	}
}

func (l userLine) print(t terminal, asJSON bool) error {
	if asJSON {
		return printJSON(t, l)
	}
	return printTable(t, l.table())
}

// table quotes the name: it may hold what a terminal would draw in another order than it is.
func (l userLine) table() [][]string {
	rows := [][]string{
		{"id", l.ID.String()},
		{"username", strconv.Quote(l.Username)},
		{"roles", cmp.Or(strings.Join(l.Roles, ", "), "-")},
		{"disabled", timeOr(l.DisabledAt, "no")},
		{"created", timeOr(&l.CreatedAt, "")},
		{"updated", timeOr(&l.UpdatedAt, "")},
	}
	if l.MustChangePassword {
		rows = append(rows, []string{"password", "must be changed"})
	}
	if l.PasswordExpiresAt != nil {
		rows = append(rows, []string{"expires", timeOr(l.PasswordExpiresAt, "")})
	}
	if l.InitialSecret != "" {
		rows = append(rows, []string{"secret", l.InitialSecret})
	}
	return rows
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// passwordInput reads a password from where no other process can see it, as it could an argument.
type passwordInput struct {
	PasswordStdin bool `xor:"source" help:"Read the password from the first line of standard input, not from the terminal."`
	InitialSecret bool `xor:"source,change" help:"Print a secret that is made for the account: its owner sets a password with it, once and within INITIAL_SECRET_HOURS."`
	MustChange    bool `xor:"change" help:"Have its owner change the password at the first login."`
}

// give gives an account a password, or a secret, and prints the account.
func (p passwordInput) give(ctx context.Context, t terminal, asJSON bool, do func(pw string) (auth.User, string, error)) error {
	pw := ""
	if !p.InitialSecret {
		var err error
		if pw, err = p.read(ctx, t); err != nil {
			return err
		}
	}
	user, secret, err := do(pw)
	if err != nil {
		return err
	}
	line := lineOf(user)
	line.InitialSecret = secret
	return line.print(t, asJSON)
}

func (p passwordInput) read(ctx context.Context, t terminal) (string, error) {
	if p.PasswordStdin {
		line, err := bufio.NewReader(io.LimitReader(t.in, 4<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	if !term.IsTerminal(int(t.in.Fd())) {
		return "", errors.New("standard input is no terminal: use --password-stdin")
	}
	return ask(ctx, t)
}

// ask has a new password typed twice, without echo. However it ends, it leaves the terminal as it was.
func ask(ctx context.Context, t terminal) (string, error) {
	before, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(t.in.Fd()), before)
	type answer struct {
		password string
		err      error
	}
	answered := make(chan answer, 1)
	go func() { // nothing can end the wait for a key, so it may outlive ask
		pw, err := askTwice(term.NewTerminal(dialogue{t.in, t.err}, ""))
		answered <- answer{pw, err}
	}()
	var a answer
	select {
	case a = <-answered:
	case <-ctx.Done():
		a.err = errInterrupted
	}
	if errors.Is(a.err, errInterrupted) {
		fmt.Fprint(t.err, "\r\n") // the cursor stands behind a question
	}
	return a.password, a.err
}

// dialogue reads keys and writes questions.
type dialogue struct {
	io.Reader
	io.Writer
}

func askTwice(asked *term.Terminal) (string, error) {
	first, err := asked.ReadPassword("Password: ")
	if err != nil {
		return "", interrupted(err)
	}
	second, err := asked.ReadPassword("Again: ")
	if err != nil {
		return "", interrupted(err)
	}
	if first != second {
		return "", errors.New("the two passwords are not the same")
	}
	return first, nil
}

// interrupted knows that io.EOF is Ctrl-C or Ctrl-D, neither of which a raw terminal turns into a signal or an end.
func interrupted(err error) error {
	if errors.Is(err, io.EOF) {
		return errInterrupted
	}
	return err
}
