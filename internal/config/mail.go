package config

import (
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Mail is how mails leave.
type Mail struct {
	SMTPURL      string `env:"SMTP_URL" name:"smtp-url" placeholder:"URL" help:"Relay that takes the mails: smtp://user@host:587, or smtps://user@host:465 where the connection begins with TLS. smtp:// demands STARTTLS. With ?starttls=optional at its end it takes what the relay offers, and with ?starttls=off it does without. None by default: no mail is sent."`
	SMTPPassword string `env:"SMTP_PASSWORD" name:"smtp-password" secret:"" group:"Secrets. A secret in a flag is refused, since others see flags in the list of processes. Set the variable, or set the variable with _FILE behind its name to the name of a file." placeholder:"PASSWORD" help:"Password of the user in SMTP_URL."`
	MailFrom     string `env:"MAIL_FROM" placeholder:"ADDRESS" help:"Sender of the mails, such as login@example.org or Example <login@example.org>. Without a name it is APP_NAME. SMTP_URL needs it."`
	MailReplyTo  string `env:"MAIL_REPLY_TO" placeholder:"ADDRESS" help:"Where answers to mails go. By default, to MAIL_FROM."`
}

// SMTP is what SMTP_URL says.
type SMTP struct {
	Host           string
	Port           int
	Implicit       bool   // the connection begins with TLS
	STARTTLS       string // "required", "optional" or "off"
	User, Password string // "" for neither
}

const exampleOfSMTP = "must be smtp://host:587 or smtps://host:465, with user@ before the host if the relay wants a login"

// SMTP reads SMTP_URL. The second result is false if there is none.
func (m Mail) SMTP() (SMTP, bool, error) {
	if m.SMTPURL == "" {
		if m.SMTPPassword != "" {
			return SMTP{}, false, &Error{"SMTP_PASSWORD", "needs SMTP_URL"}
		}
		return SMTP{}, false, nil
	}
	u, err := url.Parse(m.SMTPURL)
	// The error of url.Parse would quote a password.
	if err != nil || u.Hostname() == "" || u.Fragment != "" || u.Path != "" && u.Path != "/" || !isMailHost(u.Hostname()) {
		return SMTP{}, false, &Error{"SMTP_URL", exampleOfSMTP}
	}
	s := SMTP{Host: u.Hostname(), User: u.User.Username(), Password: m.SMTPPassword,
		STARTTLS: "required"}
	switch u.Scheme {
	case "smtp":
		s.Port = 587 // RFC 6409 §3.1
	case "smtps":
		s.Port, s.Implicit = 465, true // RFC 8314 §7.3
	default:
		return SMTP{}, false, &Error{"SMTP_URL", exampleOfSMTP}
	}
	if given := u.Port(); given != "" {
		port, err := strconv.ParseUint(given, 10, 16)
		if err != nil || port == 0 {
			return SMTP{}, false, &Error{"SMTP_URL", "must have a port from 1 to 65535"}
		}
		s.Port = int(port)
	}
	if problem := s.take(u); problem != "" {
		return SMTP{}, false, &Error{"SMTP_URL", problem}
	}
	if s.User != "" && s.Password == "" {
		return SMTP{}, false, &Error{"SMTP_PASSWORD", "must be set: SMTP_URL has a user"}
	}
	if s.User == "" && s.Password != "" {
		return SMTP{}, false, &Error{"SMTP_URL", "needs a user before the host, since SMTP_PASSWORD is set"}
	}
	return s, true, nil
}

// take reads what is besides the host, and says what is wrong with it, or "".
func (s *SMTP) take(u *url.URL) string {
	if _, has := u.User.Password(); has {
		return "must not have the password: set SMTP_PASSWORD"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return exampleOfSMTP
	}
	for name, values := range query {
		known := values[0] == "required" || values[0] == "optional" || values[0] == "off"
		if name != "starttls" || len(values) != 1 || !known || s.Implicit {
			return "may only have ?starttls=required, optional or off at its end, and smtps:// none"
		}
		s.STARTTLS = values[0]
	}
	if s.STARTTLS == "off" && s.User != "" {
		return "must not have a user with ?starttls=off: anybody on the way could read the password"
	}
	return ""
}

// isMailHost reports whether a text is an address, or could be a name.
func isMailHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || isDomain(strings.ToLower(host))
}

// Validate checks the settings of mails.
func (m Mail) Validate() error {
	_, sends, err := m.SMTP()
	if err != nil {
		return err
	}
	if sends && m.MailFrom == "" {
		return &Error{"MAIL_FROM", "must be set, since SMTP_URL is: to the sender of the mails, such as login@example.org"}
	}
	for setting, value := range map[string]string{"MAIL_FROM": m.MailFrom, "MAIL_REPLY_TO": m.MailReplyTo} {
		if value == "" {
			continue
		}
		parsed, err := netmail.ParseAddress(value)
		if err != nil || !isMailHost(parsed.Address[strings.LastIndexByte(parsed.Address, '@')+1:]) {
			return &Error{setting, "must be an address, such as login@example.org or Example <login@example.org>"}
		}
	}
	return nil
}
