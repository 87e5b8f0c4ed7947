// Package backchannel tells apps that a session of theirs has ended (OpenID Connect Back-Channel
// Logout 1.0).
//
// A trigger of the database adds a [Logout] to river's jobs, in the transaction that ends the
// session, whoever ends it. A [Worker] makes the token and sends it, on any replica. What is not
// delivered is tried again. So an app hears of a ban as it hears of a logout, though it was down
// for a while, or a replica was killed.
package backchannel

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/token"
)

const (
	// Queue is the queue of the jobs. It is theirs alone, so that an app that does not answer holds
	// up no other kind of job.
	Queue = "backchannel_logout"

	// Workers is how many deliveries a replica has under way at most.
	Workers = 50

	// Tries is how often a delivery is tried. By river's pauses, of n⁴ seconds after the nth, the
	// last comes about four hours after the first.
	Tries = 10

	// Lifetime bounds how long a job waits behind others for an app that does not answer.
	Lifetime = 24 * time.Hour
)

// Logout is a job: an app is to be told that a session has ended. The trigger sessions_tell_app
// writes the JSON of it.
type Logout struct {
	ClientID  string    `json:"client_id"`
	SessionID uuid.UUID `json:"session_id"`
	UserID    uuid.UUID `json:"user_id"`
}

// Kind implements [river.JobArgs].
func (Logout) Kind() string { return "backchannel_logout" }

// InsertOpts implements [river.JobArgsWithInsertOpts]. The trigger writes the same.
func (Logout) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: Queue, MaxAttempts: Tries}
}

// Clients finds a client. Errors: [auth.ErrClientNotFound].
type Clients interface {
	ClientByID(ctx context.Context, id string) (auth.StoredClient, error)
}

// Tokens makes logout tokens (§2.4), as [auth.IDTokens] does.
type Tokens interface {
	SignLogout(algorithm token.Algorithm, t token.LogoutToken) (string, error)
}

// Options of a [Worker]. All are needed.
type Options struct {
	Clients Clients
	Tokens  Tokens
	Clock   func() time.Time
	Log     *slog.Logger
	// Told is called with the outcome of each job.
	Told func(Outcome)
}

// Outcome of a job that a worker has had in hand.
type Outcome string

const (
	Delivered Outcome = "delivered"
	Failed    Outcome = "failed"   // and is tried again
	PutOff    Outcome = "put_off"  // because others wait for the same app
	GivenUp   Outcome = "given_up" // after the last try
)

// Outcomes lists all.
func Outcomes() []Outcome { return []Outcome{Delivered, Failed, PutOff, GivenUp} }

// Worker works off the jobs.
type Worker struct {
	river.WorkerDefaults[Logout]
	Options
	http    *http.Client
	waiting *lines
}

// NewWorker makes a worker. [Worker.Close] comes after its last job.
func NewWorker(o Options) *Worker {
	return &Worker{Options: o, http: newClient(), waiting: newLines()}
}

// Close closes the connections that are open for the next delivery.
func (w *Worker) Close() { w.http.CloseIdleConnections() }

var errTooOld = errors.New("it has waited too long")

// Work implements [river.Worker].
func (w *Worker) Work(ctx context.Context, job *river.Job[Logout]) error {
	id, age := job.Args.ClientID, w.Clock().Sub(job.CreatedAt)
	if age > Lifetime {
		return river.JobCancel(w.giveUp(job, errTooOld))
	}
	client, err := w.Clients.ClientByID(ctx, id)
	switch {
	case errors.Is(err, auth.ErrClientNotFound), err == nil && client.BackchannelLogoutURI == "":
		return nil // by now, nobody wants to hear of it
	case err != nil:
		return w.fail(job, err)
	case !w.waiting.enter(id):
		w.Told(PutOff)
		return river.JobSnooze(pause(age))
	}
	defer w.waiting.leave(id)
	err = w.deliver(ctx, client.Client, job.Args)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return river.JobSnooze(0) // the replica stops, and another one goes on
	}
	w.logChange(id, err)
	if err != nil {
		return w.fail(job, err)
	}
	w.Told(Delivered)
	return nil
}

// deliver makes the token anew at each try, by the key and the address of now: a token is good for
// minutes, and the tries take hours.
func (w *Worker) deliver(ctx context.Context, client auth.Client, l Logout) error {
	signed, err := w.Tokens.SignLogout(client.IDTokenAlgorithm, token.LogoutToken{
		Audience: client.ID, Subject: l.UserID, SessionID: l.SessionID,
	})
	if err != nil {
		return err
	}
	return post(ctx, w.http, client.BackchannelLogoutURI, signed)
}

// logChange logs once that an app cannot be told, and once that it can be again.
func (w *Worker) logChange(client string, err error) {
	switch {
	case !w.waiting.judge(client, err != nil):
	case err != nil:
		w.Log.Warn("an app does not take word of ended sessions, and is tried again",
			"client_id", client, "error", err.Error())
	default:
		w.Log.Info("the app takes word of ended sessions again", "client_id", client)
	}
}

// fail returns the error of a try, by which river plans the next one.
func (w *Worker) fail(job *river.Job[Logout], err error) error {
	if job.Attempt >= job.MaxAttempts {
		return w.giveUp(job, err)
	}
	w.Told(Failed)
	return err
}

func (w *Worker) giveUp(job *river.Job[Logout], err error) error {
	w.Told(GivenUp)
	w.Log.Warn("an app was never told that a session has ended",
		"client_id", job.Args.ClientID, "session_id", job.Args.SessionID.String(),
		"tries", job.Attempt, "error", err.Error())
	return err
}
