package wire

import (
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
)

// Mail is a line of the log of mails.
type Mail struct {
	ID        uuid.UUID `json:"id"`
	Kind      string    `json:"kind"`
	QueuedAt  time.Time `json:"queued_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Attempts  int       `json:"attempts"`
	// Outcome is "waiting" until the mail is done.
	Outcome string     `json:"outcome"`
	Problem string     `json:"problem,omitempty"`
	DoneAt  *time.Time `json:"done_at"`
}

// MailOf is the form of a line of the log of mails.
func MailOf(m auth.RecordedMail) Mail {
	outcome := string(m.Outcome)
	if outcome == "" {
		outcome = "waiting"
	}
	return Mail{
		m.ID, string(m.Kind), m.QueuedAt.UTC(), m.ExpiresAt.UTC(), m.Attempts, outcome, m.Problem,
		utc(m.DoneAt),
	}
}
