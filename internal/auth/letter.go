package auth

import (
	"time"

	"github.com/google/uuid"
)

// MailKind is what a mail is about. It is also what metrics and the log of mails call it.
type MailKind string

// Kinds of mails.
const (
	MailTest   MailKind = "test"   // an operator tries out the relay
	MailVerify MailKind = "verify" // prove that the address is yours
	MailReset  MailKind = "reset"  // set another password
	MailInvite MailKind = "invite" // set the first password
	// MailKnownAddress tells the owner of a verified address that somebody has registered with it,
	// or wanted to change to it. Whoever typed it learns nothing.
	MailKnownAddress MailKind = "known_address"
	// MailAddressChanged goes to the old address, with the link that undoes the change.
	MailAddressChanged  MailKind = "address_changed"
	MailNewDevice       MailKind = "new_device"
	MailPasswordChanged MailKind = "password_changed"
	MailLocked          MailKind = "locked" // too many failed logins
	MailAccountDeleted  MailKind = "account_deleted"
	MailFactorAdded     MailKind = "factor_added"
	// MailFactorRemoved tells of one factor, or of all.
	MailFactorRemoved    MailKind = "factor_removed"
	MailRecoveryCodeUsed MailKind = "recovery_code_used"
)

// MailKinds returns all kinds of mails.
func MailKinds() []MailKind {
	return []MailKind{
		MailTest, MailVerify, MailReset, MailInvite, MailKnownAddress, MailAddressChanged,
		MailNewDevice, MailPasswordChanged, MailLocked, MailAccountDeleted, MailFactorAdded,
		MailFactorRemoved, MailRecoveryCodeUsed,
	}
}

// Letter is what one mail says, before it is put into words. What is zero is not said. Code and
// Link are secrets: whoever has one of them may do what the mail is about.
type Letter struct {
	ID       uuid.UUID // of the mail; the same at each try to send it
	Kind     MailKind
	To       string // the address as SMTP wants it
	Language string // such as "en", or a list as Accept-Language has it (RFC 9110 §12.5.4)

	Username  string
	Code      string    // 8 characters, without a hyphen
	Link      string    // absolute, below ISSUER
	ExpiresAt time.Time // of Code and Link

	At            time.Time // when it was caused
	ClientAddress string    // from where
	UserAgent     string    // with what; as the client wrote it
	NewAddress    string    // that took the place of To
}
