package outbox_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gatehouse.example/db"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/mail"
	"gatehouse.example/internal/mail/mailtest"
	"gatehouse.example/internal/outbox"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const goodPassword = "correct horse battery staple"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// told is the outcome of a try.
type told struct {
	kind    auth.MailKind
	outcome auth.MailOutcome
}

// stage is a database, a relay, and the rules.
type stage struct {
	*testing.T
	*authtest.Rules
	url   string
	conn  *pgx.Conn
	relay *mailtest.Server
	log   *asynctest.Buffer
	told  chan told
	// workers are how many mails a replica has under way at most.
	workers int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{
		T: t, url: dbtest.New(t), relay: mailtest.New(t, mailtest.Options{}),
		log: &asynctest.Buffer{}, told: make(chan told, 1000),
		workers: 4,
	}
	conn, err := pgx.Connect(t.Context(), s.url)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	s.conn = conn
	s.Rules = authtest.New(t, s.open(s.url), authtest.Options{})
	must(t, s.Peppers.Claim(t.Context()))
	return s
}

func (s *stage) open(url string) *db.DB {
	s.Helper()
	store, err := db.Open(context.Background(), db.Options{URL: url, StatementTimeout: 5 * time.Second})
	must(s, err)
	s.Cleanup(store.Close)
	return store
}

func (s *stage) exec(sql string, args ...any) {
	s.Helper()
	_, err := s.conn.Exec(s.Context(), sql, args...)
	must(s, err)
}

// addressed registers a user who has a verified address.
func (s *stage) addressed(name string) auth.User {
	s.Helper()
	user, _, err := s.Accounts.Register(s.Context(), authtest.Operator(),
		auth.NewAccount{Username: name, Password: goodPassword})
	must(s, err)
	s.exec("UPDATE users SET email = $2, email_key = $2, email_verified_at = now() WHERE id = $1",
		user.ID, name+"-canary@example.org")
	return user
}

func (s *stage) forgot(login string) (challenge uuid.UUID) {
	s.Helper()
	challenge, err := s.Recovery.Forgot(s.Context(), login, "en", auth.Caller{Address: "192.0.2.1"})
	must(s, err)
	return challenge
}

// work is a replica that sends mails until the test ends, or until the function that it returns is
// called.
func (s *stage) work(url string) (stop func()) {
	s.Helper()
	return s.workAs(url, authtest.Options{}, mail.SMTPOptions{Encryption: mail.Plain})
}

// workAs is work with other settings. The relay is always that of the stage.
func (s *stage) workAs(url string, o authtest.Options, smtp mail.SMTPOptions) (stop func()) {
	s.Helper()
	store := s.open(url)
	rules := authtest.New(s, store, o)
	composer, err := mail.NewComposer(mail.Options{AppName: "Test", From: "login@example.org"})
	must(s, err)
	host, port, err := net.SplitHostPort(s.relay.Address())
	must(s, err)
	number, err := strconv.Atoi(port)
	must(s, err)
	smtp.Host, smtp.Port, smtp.Hello = host, number, "example.org"
	relay := mail.NewSMTP(smtp)
	worker := outbox.NewWorker(outbox.Options{
		Mails: rules.Mails, Composer: composer, Relay: relay, Clock: time.Now,
		Log: slog.New(slog.NewTextHandler(s.log, nil)),
		Told: func(k auth.MailKind, o auth.MailOutcome, waited time.Duration) {
			if (waited > 0) != (o == auth.MailSent) {
				s.Errorf("a mail that is %s has waited for %v", o, waited)
			}
			s.told <- told{k, o}
		},
		Pause: func(time.Duration) time.Duration { return time.Millisecond },
	})
	workers := river.NewWorkers()
	river.AddWorker(workers, worker)
	client, err := store.NewJobs(river.Config{
		Workers: workers, Queues: map[string]river.QueueConfig{outbox.Queue: {MaxWorkers: s.workers}},
		FetchCooldown: time.Millisecond, FetchPollInterval: 5 * time.Millisecond,
		RetryPolicy: atOnce{}, SoftStopTimeout: time.Millisecond, TestOnly: true,
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(s, err)
	must(s, client.Start(context.Background()))
	stop = sync.OnceFunc(func() {
		must(s, client.Stop(context.Background()))
		_ = relay.Close()
	})
	s.Cleanup(stop)
	return stop
}

// atOnce plans the next try for now.
type atOnce struct{}

func (atOnce) NextRetry(*rivertype.JobRow) time.Time { return time.Now() }

// awaitDone waits until all mails and all jobs are done.
func (s *stage) awaitDone() {
	s.Helper()
	asynctest.Await(s, "all mails to be done", func() bool {
		var left int
		must(s, s.conn.QueryRow(s.Context(), `SELECT (SELECT count(*) FROM mails WHERE done_at IS NULL)
			+ (SELECT count(*) FROM river_job WHERE state <> 'completed')`).Scan(&left))
		return left == 0
	})
}

func (s *stage) wantTold(want ...auth.MailOutcome) {
	s.Helper()
	var got []auth.MailOutcome
	for len(s.told) > 0 {
		got = append(got, (<-s.told).outcome)
	}
	if !slices.Equal(got, want) {
		s.Errorf("told of %q, want %q", got, want)
	}
}

// wantNowhere looks for what is secret in the log and in the database.
func (s *stage) wantNowhere(secrets ...string) {
	s.Helper()
	places := map[string]string{"log": s.log.String()}
	rows, err := s.conn.Query(s.Context(), `SELECT relname FROM pg_class
		WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace`)
	must(s, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(s, err)
	for _, table := range tables {
		rows, err := s.conn.Query(s.Context(), "SELECT t::text FROM "+pgx.Identifier{table}.Sanitize()+" t")
		must(s, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(s, err)
		places[table] = strings.Join(lines, "\n")
	}
	for place, text := range places {
		for _, secret := range secrets {
			if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
				s.Errorf("%s has %q", place, secret)
			}
		}
	}
}

// reset sets a password by what a mail has.
func (s *stage) reset(proof auth.ChallengeProof) {
	s.Helper()
	_, err := s.Recovery.Reset(s.Context(), proof, "another good password", auth.Caller{})
	must(s, err)
}

func tokenOf(r mailtest.Received) string { return r.Link()[strings.LastIndexByte(r.Link(), '/')+1:] }

// Two replicas see each job. A mail that comes twice looks like an attack.
func TestTwoReplicasSendEachMailOnceAndItsLinkWorks(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.work(s.url)
	s.work(s.url)
	const mails = 15
	for n := range mails {
		s.addressed("user" + strconv.Itoa(n))
		s.forgot("user" + strconv.Itoa(n))
	}
	secrets := []string{}
	for range mails {
		received := s.relay.Next(t)
		if received.Code() == "" || received.Link() == "" {
			t.Fatalf("the mail has no code or no link:\n%s", received.Text)
		}
		secrets = append(secrets, tokenOf(received), received.Code(), strings.ReplaceAll(received.Code(), "-", ""))
		s.reset(auth.ChallengeProof{Token: tokenOf(received)})
	}
	s.awaitDone()
	s.relay.Nothing(t)
	s.wantNowhere(secrets...)
}

// The relay is down for a while, and nothing is lost. The log says once that it is, and once that
// it is back.
func TestWhatTheRelayDoesNotTakeIsSentWhenItDoes(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(*mailtest.Server){
		"later":         func(r *mailtest.Server) { r.Refuse(mailtest.Mail, 451, "try again later") },
		"greylisting":   func(r *mailtest.Server) { r.Refuse(mailtest.Rcpt, 450, "4.2.0 <alice-canary@example.org>: greylisted") },
		"closing":       func(r *mailtest.Server) { r.Refuse(mailtest.Hello, 421, "closing") },
		"no room":       func(r *mailtest.Server) { r.Refuse(mailtest.Data, 452, "no room for alice-canary@example.org") },
		"sender closed": func(r *mailtest.Server) { r.Refuse(mailtest.Mail, 550, "the sender is not known") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			user := s.addressed("alice")
			down(s.relay)
			s.forgot("alice")
			s.work(s.url)
			for range 3 {
				if got := <-s.told; got != (told{auth.MailReset, outbox.Failed}) {
					t.Fatalf("%v", got)
				}
			}
			log, err := s.MailLog.Last(t.Context(), authtest.Operator(), auth.ByName("alice"), 10)
			must(t, err)
			if len(log) != 1 || log[0].Outcome != "" || log[0].Problem == "" || log[0].Attempts < 3 ||
				strings.Contains(log[0].Problem, "canary") || log[0].Kind != auth.MailReset {
				t.Errorf("the log of mails: %+v", log)
			}
			for _, step := range []mailtest.Step{mailtest.Hello, mailtest.Mail, mailtest.Rcpt, mailtest.Data} {
				s.relay.Accept(step)
			}
			received := s.relay.Next(t)
			s.awaitDone()
			s.relay.Nothing(t)
			s.reset(auth.ChallengeProof{Token: tokenOf(received)})
			said := s.log.String()
			if strings.Count(said, "does not take mails") != 1 || strings.Count(said, "takes mails again") != 1 ||
				strings.Contains(said, "canary") {
				t.Errorf("log:\n%s", said)
			}
			if log, err = s.MailLog.Last(t.Context(), authtest.Operator(), auth.ByID(user.ID), 10); err != nil ||
				log[0].Outcome != auth.MailSent || log[0].DoneAt == nil {
				t.Errorf("the log of mails: %+v, %v", log, err)
			}
		})
	}
}

// Somebody waits for it, so it is in the audit log and in the log of mails, without the address.
func TestWhatTheRelayRefusesForGoodIsGivenUpAtOnceAndTold(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.addressed("alice")
	s.relay.Refuse(mailtest.Rcpt, 550, "5.1.1 <alice-canary@example.org>: no such mailbox")
	s.forgot("alice")
	s.work(s.url)
	s.awaitDone()
	s.wantTold(auth.MailDead)
	log, err := s.MailLog.Last(t.Context(), authtest.Operator(), auth.ByName("alice"), 10)
	must(t, err)
	if len(log) != 1 || log[0].Outcome != auth.MailDead || !strings.Contains(log[0].Problem, "550") ||
		strings.Contains(log[0].Problem, "canary") {
		t.Errorf("the log of mails: %+v", log)
	}
	events, err := s.Audit.LastEvents(t.Context(), auth.EventFilter{Action: auth.ActionFailMail}, 10)
	must(t, err)
	if len(events) != 1 || events[0].Outcome != "undeliverable" || events[0].UserName != "alice" ||
		events[0].Target != "reset" || events[0].By.Kind != auth.ActorService {
		t.Errorf("the audit log: %+v", events)
	}
	if strings.Contains(s.log.String(), "does not take mails") {
		t.Errorf("one mailbox is taken for the relay:\n%s", s.log.String())
	}
	if !strings.Contains(s.log.String(), "a mail was given up") || strings.Contains(s.log.String(), "canary") {
		t.Errorf("log:\n%s", s.log.String())
	}
}

// Nobody knows whether the relay has it. One mail too many is better than none, and both are the
// same.
func TestARelayThatHangsUpAfterTheMailGetsTheSameOnceMore(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.addressed("alice")
	s.relay.HangUpAfterData(1)
	s.forgot("alice")
	s.work(s.url)
	first, second := s.relay.Next(t), s.relay.Next(t)
	s.awaitDone()
	s.relay.Nothing(t)
	if first.Link() == "" || first.Link() != second.Link() || first.Code() != second.Code() ||
		first.Header.Get("Message-Id") != second.Header.Get("Message-Id") {
		t.Errorf("the mails differ:\n%s\n%s", first.Source, second.Source)
	}
	var challenges int
	must(t, s.conn.QueryRow(t.Context(), "SELECT count(*) FROM audit_events WHERE action = 'challenge.make'").Scan(&challenges))
	if challenges != 1 {
		t.Errorf("%d challenges are in the audit log", challenges)
	}
}

func TestAStopWaitsForNoRelayAndLosesNoMail(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.addressed("alice")
	arrived, release := s.relay.Hold(mailtest.Rcpt)
	stop := s.work(s.url)
	s.forgot("alice")
	<-arrived
	stop()
	release()
	var state string
	must(t, s.conn.QueryRow(t.Context(), "SELECT state FROM river_job").Scan(&state))
	if state != "available" {
		t.Errorf("the job is %s", state)
	}
	s.work(s.url)
	s.relay.Next(t)
	s.awaitDone()
	s.relay.Nothing(t)
}

// A replica that is killed leaves its job as under way, and its mail as begun.
func TestWhatAKilledReplicaHadInHandIsSent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.addressed("alice")
	challenge := s.forgot("alice")
	_, err := s.Mails.Prepare(t.Context(), challenge) // and then it was killed
	must(t, err)
	s.exec(`UPDATE river_job
		SET state = 'running', attempt = 1, attempted_at = now() - interval '1 day', attempted_by = '{killed}'`)
	s.work(s.url)
	received := s.relay.Next(t)
	s.awaitDone()
	s.relay.Nothing(t)
	s.reset(auth.ChallengeProof{Challenge: challenge, Code: received.Code()})
}

// The database is gone just when the relay says that it has the mail.
func TestAMailIsSentOnceThoughTheDatabaseIsGoneWhenItIsToBeNoted(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	proxy, through := dbtest.Proxy(t, s.url)
	s.addressed("alice")
	arrived, release := s.relay.Hold(mailtest.Data)
	s.work(through)
	s.forgot("alice")
	<-arrived
	proxy.Stop()
	release()
	s.relay.Next(t)
	asynctest.Await(t, "the replica to notice", func() bool { return strings.Contains(s.log.String(), "error") })
	must(t, proxy.Start())
	s.awaitDone()
	s.relay.Nothing(t)
	s.wantTold(auth.MailSent)
}

// Whoever leaves must be gone, from jobs and mails too, and no mail comes after.
func TestADeletedAccountLeavesNoAddressAndGetsNoMail(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	user := s.addressed("alice")
	s.relay.Refuse(mailtest.Mail, 451, "try again later")
	s.forgot("alice")
	stop := s.work(s.url)
	<-s.told
	must(t, s.Accounts.Delete(t.Context(), authtest.Operator(), user.ID))
	s.relay.Accept(mailtest.Mail)
	stop()
	s.work(s.url)
	s.awaitDone()
	s.relay.Nothing(t)
	s.wantNowhere("canary", "example.org")
	var mails int
	must(t, s.conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM mails) + (SELECT count(*) FROM challenges)").Scan(&mails))
	if mails != 0 {
		t.Errorf("%d mails and challenges are left", mails)
	}
}

func TestAMailThatIsOfNoUseAnyMoreIsNotSent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.addressed("alice")
	s.forgot("alice")
	s.exec("UPDATE mails SET expires_at = now()")
	s.forgot("nobody-canary")
	s.work(s.url)
	s.awaitDone()
	s.relay.Nothing(t)
	got := []auth.MailOutcome{(<-s.told).outcome, (<-s.told).outcome}
	slices.Sort(got)
	if !slices.Equal(got, []auth.MailOutcome{auth.MailExpired, auth.MailVoid}) {
		t.Errorf("%q", got)
	}
	s.wantNowhere("nobody-canary")
}
