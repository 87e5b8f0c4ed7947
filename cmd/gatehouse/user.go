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

	"golang.org/x/term"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/wire"
)

type userCommand struct {
	Add        userAdd        `cmd:"" help:"Make an account."`
	Invite     userInvite     `cmd:"" help:"Make an account for somebody at an e-mail address, and have the service mail them a link with which they set the password."`
	List       userList       `cmd:"" help:"List accounts."`
	Show       userShow       `cmd:"" help:"Show an account."`
	Disable    userDisable    `cmd:"" help:"Bar an account from logging in, and revoke its tokens."`
	Enable     userEnable     `cmd:"" help:"Let an account log in again."`
	Delete     userDelete     `cmd:"" help:"Delete an account for good. Its name is never given to another."`
	Role       userRole       `cmd:"" help:"Give an account a role, or take it."`
	MustChange userMustChange `cmd:"" help:"Have the owner of an account change the password at the next login, and revoke its tokens."`
	Password   userPassword   `cmd:"" help:"Give an account another password, and revoke its tokens."`
	SendReset  userSendReset  `cmd:"" help:"Have the service mail the owner of an account a link and a code, with which they set another password."`
	Factors    userFactors    `cmd:"" help:"What an account proves besides the password."`
	Unlock     userUnlock     `cmd:"" help:"Forget the failed logins and the wrong codes of an account that has had too many, so that it can log in again."`
	Sessions   userSessions   `cmd:"" help:"List the sessions of an account."`
	Logout     userLogout     `cmd:"" help:"End all sessions of an account."`
	Import     userImport     `cmd:"" help:"Make the accounts of a file, with their password hashes."`
	Export     userExport     `cmd:"" help:"Write all accounts to a file, with their password hashes."`
}

// adminSettings are what a command needs to reach the accounts.
type adminSettings struct {
	config.Database `embed:""`
}

func (s adminSettings) with(ctx context.Context, do func(*app.Admin) error) error {
	return pepperSettings{Database: s.Database}.with(ctx, do)
}

// pepperSettings are adminSettings for commands on stored passwords.
type pepperSettings struct {
	config.Database `embed:""`
	config.Pepper   `embed:""`
}

func (s pepperSettings) with(ctx context.Context, do func(*app.Admin) error) error {
	admin, err := app.OpenAdminWithoutPasswords(ctx, s.Database, s.Pepper)
	return using(admin, err, do)
}

// passwordSettings are adminSettings for commands that give somebody a password.
type passwordSettings struct {
	config.Database  `embed:""`
	config.Passwords `embed:""`
}

func (s passwordSettings) with(ctx context.Context, do func(*app.Admin) error) error {
	admin, err := app.OpenAdmin(ctx, s.Database, s.Passwords)
	return using(admin, err, do)
}

// using does something with an Admin that was opened, and closes it.
func using(admin *app.Admin, failed error, do func(*app.Admin) error) error {
	if failed != nil {
		return failed
	}
	return errors.Join(do(admin), admin.Close())
}

// showUser runs an operation on one user, and prints the user.
func (s adminSettings) showUser(ctx context.Context, t terminal, asJSON bool, do func(*app.Admin) (auth.User, error)) error {
	return s.with(ctx, func(admin *app.Admin) error {
		user, err := do(admin)
		if err != nil {
			return err
		}
		return printUser(t, asJSON, wire.AccountOf(user))
	})
}

type userAdd struct {
	passwordSettings `embed:""`
	passwordInput    `embed:""`
	Name             string   `arg:"" help:"Username."`
	Role             []string `help:"Role of the account. May be repeated. The built-in role is admin." placeholder:"ROLE"`
	Email            string   `help:"E-mail address of the account." placeholder:"ADDRESS"`
	EmailVerified    bool     `help:"The address is known to be that of the owner of the account."`
	JSON             bool     `help:"Print JSON."`
}

// Run makes an account.
func (c *userAdd) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.Peppers.Prove(ctx); err != nil {
			return err
		}
		return c.give(ctx, t, c.JSON, func(pw string) (auth.User, string, error) {
			return admin.Accounts.Register(ctx, by, auth.NewAccount{
				Username: c.Name, Password: pw, Initial: c.InitialSecret, MustChange: c.MustChange, Roles: c.Role,
				Email: c.Email, EmailVerified: c.EmailVerified,
			})
		})
	})
}

type userInvite struct {
	passwordSettings `embed:""`
	config.Secrets   `embed:""`
	Address          string   `arg:"" help:"E-mail address of the person. Nobody has verified it for another account."`
	Username         string   `help:"Username. By default, the person chooses one." placeholder:"NAME"`
	Role             []string `help:"Role of the account. May be repeated. The built-in role is admin." placeholder:"ROLE"`
	Language         string   `help:"Language of the mail: en or de." enum:"en,de" default:"en"`
	JSON             bool     `help:"Print JSON."`
}

// Run makes an account, and has its owner invited. It prints nothing of the mail.
func (c *userInvite) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.Peppers.Prove(ctx); err != nil {
			return err
		}
		invitations, err := admin.Invitations(ctx, c.Secrets)
		if err != nil {
			return err
		}
		user, _, err := invitations.Invite(ctx, by, auth.NewInvitation{
			Email: c.Address, Username: c.Username, Roles: c.Role, Language: c.Language,
		})
		if err != nil {
			return err
		}
		return printUser(t, c.JSON, wire.AccountOf(user))
	})
}

type userPassword struct {
	passwordSettings `embed:""`
	config.Teller    `embed:""`
	passwordInput    `embed:""`
	Name             string `arg:"" help:"Username."`
	JSON             bool   `help:"Print JSON."`
}

// Run replaces a password.
func (c *userPassword) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.Peppers.Prove(ctx); err != nil {
			return err
		}
		if err := admin.TellOwners(ctx, c.Teller); err != nil {
			return err
		}
		who := auth.ByName(c.Name)
		if _, err := admin.Accounts.Find(ctx, who); err != nil { // before the question for a password
			return err
		}
		return c.give(ctx, t, c.JSON, func(pw string) (auth.User, string, error) {
			return admin.Accounts.SetPassword(ctx, by, who, auth.NewPassword{
				Password: pw, Initial: c.InitialSecret, MustChange: c.MustChange,
			})
		})
	})
}

type userMustChange struct {
	oneUser `embed:""`
}

// Run has the owner of an account change the password.
func (c *userMustChange) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) {
		return admin.Accounts.RequirePasswordChange(ctx, by, auth.ByName(c.Name), nil)
	})
}

type userShow struct {
	oneUser `embed:""`
}

// Run shows an account.
func (c *userShow) Run(ctx context.Context, t terminal) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) {
		return admin.Accounts.Find(ctx, auth.ByName(c.Name))
	})
}

type userDisable struct {
	oneUser `embed:""`
}

// Run disables an account.
func (c *userDisable) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) {
		return admin.Accounts.Disable(ctx, by, auth.ByName(c.Name), nil)
	})
}

type userEnable struct {
	oneUser `embed:""`
}

// Run enables an account.
func (c *userEnable) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) {
		return admin.Accounts.Enable(ctx, by, auth.ByName(c.Name), nil)
	})
}

type userUnlock struct {
	oneUser        `embed:""`
	config.Secrets `embed:""`
}

// Run lets an account log in again.
func (c *userUnlock) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) {
		limits, err := admin.Limits(ctx, c.Secrets)
		if err != nil {
			return auth.User{}, err
		}
		return limits.Unlock(ctx, by, auth.ByName(c.Name))
	})
}

type userFactors struct {
	Reset userFactorsReset `cmd:"" help:"Take all that an account proves besides the password, for an owner who has lost it, and log the owner out everywhere."`
}

type userFactorsReset struct {
	oneUser       `embed:""`
	config.Teller `embed:""`
}

// Run takes all factors of an account.
func (c *userFactorsReset) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) {
		if err := admin.TellOwners(ctx, c.Teller); err != nil {
			return auth.User{}, err
		}
		user, err := admin.Accounts.ResetFactors(ctx, by, auth.ByName(c.Name))
		if err == nil && user.Passwordless {
			fmt.Fprintln(t.err, "the account has no password either: give it one by `gatehouse user password --initial-secret`, or by `gatehouse user send-reset`")
		}
		return user, err
	})
}

type userSendReset struct {
	oneUser        `embed:""`
	config.Secrets `embed:""`
	Language       string `help:"Language of the mail: en or de." enum:"en,de" default:"en"`
}

// Run has a mail sent. It prints the account, and nothing of the mail.
func (c *userSendReset) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) {
		recovery, err := admin.Recovery(ctx, c.Secrets)
		if err != nil {
			return auth.User{}, err
		}
		return recovery.Send(ctx, by, auth.ByName(c.Name), c.Language)
	})
}

// oneUser is a command on a name.
type oneUser struct {
	adminSettings `embed:""`
	Name          string `arg:"" help:"Username."`
	JSON          bool   `help:"Print JSON."`
}

type userList struct {
	adminSettings `embed:""`
	Prefix        string `help:"Only names that begin with this, in any letter case or width." placeholder:"NAME"`
	State         string `help:"Only accounts that are enabled, or disabled." enum:"any,enabled,disabled" default:"any"`
	Role          string `help:"Only accounts that have this role." placeholder:"ROLE"`
	Email         string `help:"Only accounts that have this e-mail address, however it is written, and whether or not it is verified." placeholder:"ADDRESS"`
	Limit         int    `help:"Most accounts to show. They are the first by name. 0: all." default:"0"`
	JSON          bool   `help:"Print JSON, one line for each account."`
}

// Validate implements kong's interface.
func (c *userList) Validate() error {
	if c.Limit < 0 {
		return errors.New("--limit must not be negative")
	}
	return nil
}

func (c *userList) filter() auth.UserFilter {
	f := auth.UserFilter{Prefix: c.Prefix, Role: c.Role, Email: c.Email}
	if c.State != "any" {
		disabled := c.State == "disabled"
		f.Disabled = &disabled
	}
	return f
}

// pageSize is how many users one query reads.
const pageSize = 500

// Run lists accounts. It holds one page of them in memory, however many there are.
func (c *userList) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		p := c.printer(t)
		left := c.Limit
		for after := ""; ; {
			most := pageSize
			if c.Limit > 0 {
				most = min(left, pageSize)
			}
			page, err := auth.ReadPage(most, func(limit int) ([]auth.User, error) {
				return admin.Accounts.List(ctx, c.filter(), after, limit)
			})
			if err != nil {
				return err
			}
			lines := make([]wire.Account, len(page.Items))
			for n, u := range page.Items {
				lines[n] = wire.AccountOf(u)
			}
			if err := p.print(lines...); err != nil {
				return err
			}
			last := page.Last()
			if left -= len(page.Items); last == nil || left == 0 {
				return nil
			}
			after = last.Username.Key
		}
	})
}

func (c *userList) printer(t terminal) *list[wire.Account] {
	return &list[wire.Account]{
		t: t, asJSON: c.JSON, head: []string{"ID", "DISABLED", "CREATED", "ROLES", "USERNAME"},
		row: func(l wire.Account) []string {
			return []string{
				l.ID.String(), yesNo(l.Disabled), timeOr(&l.CreatedAt, ""), cmp.Or(strings.Join(l.Roles, ","), "-"), strconv.Quote(l.Username),
			}
		},
		table: table{[]int{36, 8, 20, 20}}, // to align by content, it would have to hold every row
	}
}

func printUser(t terminal, asJSON bool, l wire.Account) error {
	if asJSON {
		return printJSON(t, l)
	}
	return printTable(t, tableOf(l))
}

// tableOf quotes the name. A terminal may draw some characters in another order than they are in.
func tableOf(l wire.Account) [][]string {
	rows := [][]string{
		{"id", l.ID.String()},
		{"username", strconv.Quote(l.Username)},
		{"roles", cmp.Or(strings.Join(l.Roles, ", "), "-")},
		{"disabled", timeOr(l.DisabledAt, "no")},
		{"created", timeOr(&l.CreatedAt, "")},
		{"updated", timeOr(&l.UpdatedAt, "")},
	}
	if l.Email != nil {
		state := "not verified"
		if l.EmailVerified {
			state = "verified"
		}
		rows = append(rows, []string{"email", strconv.Quote(*l.Email) + ", " + state})
	}
	rows = append(rows, []string{"factors", factorsOf(l.Factors)})
	if l.Factors.Passwordless {
		rows = append(rows, []string{"password", "none"})
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

// factorsOf is what an account proves besides the password, in words.
func factorsOf(f wire.Factors) string {
	var words []string
	if f.TOTP {
		words = append(words, "authenticator app")
	}
	if f.Passkeys > 0 {
		words = append(words, fmt.Sprintf("%d passkeys", f.Passkeys))
	}
	if f.RecoveryCodes > 0 {
		words = append(words, fmt.Sprintf("%d recovery codes", f.RecoveryCodes))
	}
	said := cmp.Or(strings.Join(words, ", "), "none")
	if f.Demanded {
		said += "; a role demands one"
	}
	return said
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// passwordInput reads a password from the terminal or from standard input. Other processes could
// see an argument.
type passwordInput struct {
	PasswordStdin bool `xor:"source" help:"Read the password from the first line of standard input, not from the terminal."`
	InitialSecret bool `xor:"source,change" help:"Make a secret and print it. The owner of the account sets a password with it, once, within INITIAL_SECRET_HOURS."`
	MustChange    bool `xor:"change" help:"Have the owner change the password at the next login."`
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
	line := wire.AccountOf(user)
	line.InitialSecret = secret
	return printUser(t, asJSON, line)
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
		return "", errors.New("standard input is not a terminal; use --password-stdin")
	}
	return converse(ctx, t, askTwice) // without echo
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

// interrupted turns io.EOF into errInterrupted. On a raw terminal it stands for Ctrl-C or Ctrl-D,
// which cause neither a signal nor an end of the input there.
func interrupted(err error) error {
	if errors.Is(err, io.EOF) {
		return errInterrupted
	}
	return err
}
