// Package outbox sends the mails that wait in the database.
//
// Whatever causes a mail queues it in its own transaction, as a row of mails and a job of river. A
// [Worker] sends it, on any replica. What the relay does not take is tried again as long as the
// mail is of use.
package outbox

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/mail"
)

const (
	// Queue is the queue of the jobs. It is theirs alone, so that a relay that does not answer holds
	// up no other kind of job.
	Queue = "mail"

	// Workers is how many mails a replica has under way at most.
	Workers = 10

	// sendTimeout bounds one try. It is longer than the relay may take for its last reply: whoever
	// gives up earlier sends the mail again. For as long, and for markTimeout, which bounds how long
	// it is tried to note the end, the mail of a killed replica is given to no other.
	sendTimeout = 5 * mail.DefaultTimeout
	markTimeout = 10 * time.Second
	markAgain   = 200 * time.Millisecond

	shortestPause = 2 * time.Second
	longestPause  = 30 * time.Minute
)

// Job is a job: a mail is to be sent. The function queue_mail of the database writes the JSON of
// it.
type Job struct {
	ID uuid.UUID `json:"id"`
}

// Kind implements [river.JobArgs].
func (Job) Kind() string { return "mail" }

// Failed is the outcome of a try after which another one follows. [auth.MailOutcomes] are the
// others.
const Failed auth.MailOutcome = "failed"

// Options of a [Worker]. All are needed but Pause.
type Options struct {
	Mails    *auth.Mails
	Composer *mail.Composer
	Relay    mail.Relay
	Clock    func() time.Time
	Log      *slog.Logger
	// Told is called with the outcome of each try. For mails that were sent, it says how long they
	// have waited since they were queued.
	Told func(kind auth.MailKind, outcome auth.MailOutcome, waited time.Duration)
	// Pause is how long a mail of an age is put off after a try that failed. If it is nil, the pause
	// grows with the age.
	Pause func(age time.Duration) time.Duration
}

// Worker sends mails.
type Worker struct {
	river.WorkerDefaults[Job]
	Options
	failing atomic.Bool // the relay did not take the last mail
	stuck   atomic.Bool // the last mail could not be begun
}

// NewWorker makes a worker.
func NewWorker(o Options) *Worker {
	if o.Pause == nil {
		o.Pause = pause
	}
	return &Worker{Options: o}
}

// Timeout implements [river.Worker].
func (w *Worker) Timeout(*river.Job[Job]) time.Duration { return sendTimeout + markTimeout }

// Work implements [river.Worker]. A mail that the relay does not take now is tried again as long as
// it is of use. A failure of the database is an error, by which river plans the next try: it gives
// up after 25, which are spread over weeks.
func (w *Worker) Work(ctx context.Context, job *river.Job[Job]) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	letter, err := w.Mails.Prepare(ctx, job.Args.ID)
	w.logBegun(ctx, err)
	if none, ok := errors.AsType[*auth.NoMailError](err); ok {
		w.settled(job.Args.ID, none)
		return nil
	}
	if err == nil {
		err = w.send(ctx, job, letter)
	}
	if err != nil && stopped(ctx) {
		return river.JobSnooze(0) // the replica stops, and another one goes on
	}
	if limited, ok := errors.AsType[*auth.LimitedError](err); ok {
		return river.JobSnooze(max(limited.RetryAfter, time.Second)) // others have reserved what it needs
	}
	return err
}

func stopped(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// settled tells of a mail that was ended without being sent.
func (w *Worker) settled(id uuid.UUID, none *auth.NoMailError) {
	switch none.Outcome {
	case "":
		return // it was ended before, or its account is gone
	case auth.MailDead:
		w.Log.Warn("a mail cannot be read any more: it was sealed with a SECRET_KEY that is not on the list",
			"mail_id", id.String(), "kind", string(none.Kind))
	}
	w.Told(none.Kind, none.Outcome, 0)
}

func (w *Worker) send(ctx context.Context, job *river.Job[Job], letter auth.Letter) error {
	message, err := w.Composer.Compose(letter, w.Clock())
	if err != nil {
		return w.giveUp(ctx, letter, err)
	}
	err = w.Relay.Send(ctx, message)
	if err != nil && stopped(ctx) {
		return err
	}
	refused, ok := errors.AsType[*mail.Error](err)
	// A mail that is refused for good says nothing about the relay.
	w.logChange(err != nil && (!ok || !refused.Permanent), err)
	switch {
	case err == nil:
		return w.sent(ctx, letter)
	case ok && refused.Permanent:
		return w.giveUp(ctx, letter, err)
	}
	if err := w.Mails.Failed(ctx, letter, err.Error()); err != nil && !errors.Is(err, auth.ErrMailNotFound) {
		return err
	}
	w.Told(letter.Kind, Failed, 0)
	return river.JobSnooze(w.Pause(w.Clock().Sub(job.CreatedAt)))
}

// sent notes that the relay has the mail. It tries for a while, also when the replica stops: a mail
// that nobody has noted is sent twice.
func (w *Worker) sent(ctx context.Context, letter auth.Letter) error {
	waited, err := marked(ctx, func(ctx context.Context) (time.Duration, error) {
		return w.Mails.Sent(ctx, letter)
	})
	if errors.Is(err, auth.ErrMailNotFound) { // its account was deleted meanwhile
		waited, err = w.Clock().Sub(letter.At), nil
	}
	if err == nil {
		w.Told(letter.Kind, auth.MailSent, waited)
		return nil
	}
	w.Log.Warn("a mail was sent, and may be sent once more: the database did not take note of it",
		"mail_id", letter.ID.String(), "kind", string(letter.Kind), "error", err.Error())
	return err
}

// giveUp notes that a mail will never be sent.
func (w *Worker) giveUp(ctx context.Context, letter auth.Letter, why error) error {
	_, err := marked(ctx, func(ctx context.Context) (time.Duration, error) {
		return 0, w.Mails.Dead(ctx, letter, why.Error())
	})
	if err != nil && !errors.Is(err, auth.ErrMailNotFound) {
		return err
	}
	w.Log.Warn("a mail was given up", "mail_id", letter.ID.String(), "kind", string(letter.Kind),
		"error", why.Error())
	w.Told(letter.Kind, auth.MailDead, 0)
	return nil
}

// marked calls do until the database has answered, for markTimeout at most.
func marked(
	ctx context.Context, do func(context.Context) (time.Duration, error),
) (waited time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
	defer cancel()
	for {
		waited, err = do(ctx)
		if !errors.Is(err, auth.ErrUnavailable) {
			return waited, err
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(markAgain):
		}
	}
}

// logBegun logs once that the database does not let mails begin, and once that it does again.
func (w *Worker) logBegun(ctx context.Context, err error) {
	_, none := errors.AsType[*auth.NoMailError](err)
	_, limited := errors.AsType[*auth.LimitedError](err)
	stuck := err != nil && !none && !limited
	switch {
	case stuck && stopped(ctx), w.stuck.Swap(stuck) == stuck:
	case stuck:
		w.Log.Warn("mails cannot be begun, and are tried again", "error", err.Error())
	default:
		w.Log.Info("mails can be begun again")
	}
}

// logChange logs once that the relay does not take mails, and once that it does again.
func (w *Worker) logChange(failing bool, err error) {
	switch {
	case w.failing.Swap(failing) == failing:
	case failing:
		w.Log.Warn("the relay does not take mails, which are tried again", "error", err.Error())
	default:
		w.Log.Info("the relay takes mails again")
	}
}

// pause grows with the age, so that thousands that wait for the relay do not keep it and the
// database busy. It is uneven, so that they do not come back together.
func pause(age time.Duration) time.Duration {
	half := min(max(age/2, shortestPause), longestPause) / 2
	return half + rand.N(half)
}
