package outbox_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/mail"
	"gatehouse.example/internal/mail/mailtest"
	"gatehouse.example/internal/outbox"
)

func secretOf(letter string) []byte { return []byte(strings.Repeat(letter, 32)) }

// notice queues a mail of use for three days, as whatever changes an account does. It is sealed
// under the secret of [authtest].
func (s *stage) notice(user auth.User) (id uuid.UUID) {
	s.Helper()
	return s.noticeTo(user, user.Username.Given+"-canary@example.org")
}

func (s *stage) noticeTo(user auth.User, address string) (id uuid.UUID) {
	s.Helper()
	keys, err := keychain.New([][]byte{secretOf("k")})
	must(s, err)
	plain, err := json.Marshal(map[string]string{"to": address, "to_key": address, "language": "en"})
	must(s, err)
	id = uuid.New()
	must(s, s.open(s.url).RecordEvent(s.Context(), auth.Event{
		Action: auth.ActionLogin, Outcome: "success", UserID: user.ID, By: user.As(),
		Mails: []auth.QueuedMail{{
			ID: id, Kind: auth.MailNewDevice, Lifetime: 72 * time.Hour,
			Sealed: keys.Sealer(keychain.Mails).Seal(id.String(), plain),
		}},
	}))
	return id
}

// awaitFailed waits until so many tries have failed.
func (s *stage) awaitFailed(tries int) {
	s.Helper()
	for range tries {
		if got := <-s.told; got.outcome != outbox.Failed {
			s.Fatalf("%v", got)
		}
	}
}

// wantSaid looks for what the log says of the relay: once that it fails, and at most once that it
// does not.
func (s *stage) wantSaid(again int) {
	s.Helper()
	said := s.log.String()
	if strings.Count(said, "does not take mails") != 1 || strings.Count(said, "takes mails again") != again {
		s.Errorf("log:\n%s", said)
	}
}

// lastMailOf is what the log of mails says of the last mail of a user.
func (s *stage) lastMailOf(name string) auth.RecordedMail {
	s.Helper()
	log, err := s.MailLog.Last(s.Context(), authtest.Operator(), auth.ByName(name), 1)
	must(s, err)
	if len(log) != 1 {
		s.Fatalf("%d mails of %s", len(log), name)
	}
	return log[0]
}

// A relay that hangs must not take the mails with it, nor send each of them as often as it was
// tried.
func TestARelayThatHangsAtAnyStepGetsEachMailOnceWhenItGoesOn(t *testing.T) {
	t.Parallel()
	for _, step := range []mailtest.Step{mailtest.Hello, mailtest.Mail, mailtest.Rcpt} {
		t.Run(string(step), func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.addressed("alice")
			_, release := s.relay.Hold(step)
			s.forgot("alice")
			s.workAs(s.url, authtest.Options{}, mail.SMTPOptions{
				Encryption: mail.Plain, Timeout: 50 * time.Millisecond,
			})
			s.awaitFailed(3)
			if last := s.lastMailOf("alice"); last.Outcome != "" || last.Problem == "" {
				t.Errorf("%+v", last)
			}
			release()
			// A busy machine may need more than one try even now.
			received := s.relay.Next(t)
			s.awaitDone()
			s.relay.Nothing(t)
			if !strings.Contains(s.log.String(), "does not take mails") {
				t.Errorf("log:\n%s", s.log.String())
			}
			s.reset(auth.ChallengeProof{Token: tokenOf(received)})
		})
	}
}

// Such relays are mended by the operator, who must find in the log and in the log of mails what is
// wrong. Until then no mail goes over a connection that somebody else may read.
func TestMailsWaitForARelayWithAWrongCertificateOrPassword(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		relay   mailtest.Options
		smtp    mail.SMTPOptions
		mended  mail.SMTPOptions
		problem string
	}{
		"certificate of nobody known": {
			mailtest.Options{STARTTLS: true}, mail.SMTPOptions{Encryption: mail.STARTTLS},
			mail.SMTPOptions{Encryption: mail.STARTTLS}, "certificate",
		},
		"no TLS though it is demanded": {
			mailtest.Options{}, mail.SMTPOptions{Encryption: mail.STARTTLS},
			mail.SMTPOptions{Encryption: mail.Plain}, "STARTTLS",
		},
		"wrong password": {
			mailtest.Options{User: "gatehouse", Password: "right-canary"},
			mail.SMTPOptions{Encryption: mail.Plain, User: "gatehouse", Password: "wrong-canary"},
			mail.SMTPOptions{Encryption: mail.Plain, User: "gatehouse", Password: "right-canary"}, "535",
		},
		"no password": {
			mailtest.Options{User: "gatehouse", Password: "right-canary"},
			mail.SMTPOptions{Encryption: mail.Plain},
			mail.SMTPOptions{Encryption: mail.Plain, User: "gatehouse", Password: "right-canary"}, "530",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.relay = mailtest.New(t, test.relay)
			s.addressed("alice")
			s.forgot("alice")
			stop := s.workAs(s.url, authtest.Options{}, test.smtp)
			s.awaitFailed(3)
			stop()
			s.relay.Nothing(t)
			last := s.lastMailOf("alice")
			if last.Outcome != "" || !strings.Contains(last.Problem, test.problem) {
				t.Errorf("the log of mails says %+v, want %q", last, test.problem)
			}
			s.wantSaid(0)
			if test.relay.STARTTLS {
				test.mended.Roots = s.relay.Roots()
			}
			s.workAs(s.url, authtest.Options{}, test.mended)
			s.relay.Next(t)
			s.awaitDone()
			s.relay.Nothing(t)
			if last := s.lastMailOf("alice"); last.Outcome != auth.MailSent {
				t.Errorf("%+v", last)
			}
			s.wantNowhere("wrong-canary", "right-canary")
		})
	}
}

// What nobody can use any more would only be a riddle to who gets it. All else arrives, once.
func TestAfterADayWithoutARelayWhatIsOfUseArrivesOnceAndTheRestIsExpired(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var notices []uuid.UUID
	for _, name := range []string{"alice", "bob", "carol"} {
		user := s.addressed(name)
		s.forgot(name)
		notices = append(notices, s.notice(user))
	}
	s.relay.Refuse(mailtest.Hello, 421, "closing")
	stop := s.work(s.url)
	s.awaitFailed(20)
	stop()
	for len(s.told) > 0 {
		s.awaitFailed(1)
	}
	s.wantSaid(0)
	s.exec(`UPDATE mails SET created_at = created_at - interval '1 day', expires_at = expires_at - interval '1 day',
		admitted_at = admitted_at - interval '1 day'`)
	s.exec("UPDATE challenges SET created_at = created_at - interval '1 day', expires_at = expires_at - interval '1 day'")
	s.exec(`UPDATE river_job SET created_at = created_at - interval '1 day', scheduled_at = scheduled_at - interval '1 day',
		attempted_at = attempted_at - interval '1 day'`)
	s.relay.Accept(mailtest.Hello)
	s.work(s.url)
	s.work(s.url)
	s.awaitDone()
	for range notices {
		if got := s.relay.Next(t); got.Code() != "" {
			t.Errorf("a code that has expired arrives:\n%s", got.Text)
		}
	}
	s.relay.Nothing(t)
	outcomes := map[told]int{}
	for len(s.told) > 0 {
		outcomes[<-s.told]++
	}
	if len(outcomes) != 2 || outcomes[told{auth.MailNewDevice, auth.MailSent}] != 3 ||
		outcomes[told{auth.MailReset, auth.MailExpired}] != 3 {
		t.Errorf("%v", outcomes)
	}
}

// A statement that never works must not be tried forever, and somebody must hear of it.
func TestAMailThatTheDatabaseNeverLetsBeginIsGivenUpAndTold(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	owner, err := pgx.Connect(t.Context(), dbtest.Owner(t, s.url))
	must(t, err)
	t.Cleanup(func() { owner.Close(context.Background()) })
	s.addressed("alice")
	s.forgot("alice")
	_, err = owner.Exec(t.Context(), "REVOKE UPDATE ON mails FROM "+dbtest.ServiceRole)
	must(t, err)
	s.work(s.url)
	asynctest.Await(t, "the job to be given up", func() (done bool) {
		must(t, s.conn.QueryRow(t.Context(), "SELECT state = 'discarded' AND attempt = 25 FROM river_job").Scan(&done))
		return done
	})
	said := s.log.String()
	if strings.Count(said, "mails cannot be begun") != 1 || !strings.Contains(said, "permission denied") {
		t.Errorf("log:\n%s", said)
	}
	_, err = owner.Exec(t.Context(), "GRANT UPDATE ON mails TO "+dbtest.ServiceRole)
	must(t, err)
	s.forgot("alice")
	s.relay.Next(t)
	asynctest.Await(t, "the log", func() bool { return strings.Contains(s.log.String(), "mails can be begun again") })
	// Upkeep ends what has no job any more.
	s.exec("UPDATE mails SET expires_at = now() - interval '2 hours' WHERE done_at IS NULL")
	ended, err := s.Mails.GiveUpOverdue(t.Context(), time.Hour, 10)
	must(t, err)
	if !slices.Equal(ended, []auth.MailKind{auth.MailReset}) {
		t.Errorf("%q are ended", ended)
	}
	events, err := s.Audit.LastEvents(t.Context(), auth.EventFilter{Action: auth.ActionFailMail}, 10)
	must(t, err)
	if len(events) != 1 || events[0].Outcome != "undeliverable" || events[0].Target != "reset" ||
		events[0].By.Kind != auth.ActorService {
		t.Errorf("the audit log: %+v", events)
	}
}

// Whoever waits for a mail that no replica sends must find in its log that it does not come.
func TestAMailThatNothingHasSentIsGivenUpInTheNameOfItsUser(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.notice(s.addressed("alice"))
	s.exec("UPDATE mails SET expires_at = now() - interval '2 hours'")
	_, err := s.Mails.GiveUpOverdue(t.Context(), time.Hour, 10)
	must(t, err)
	if last := s.lastMailOf("alice"); last.Outcome != auth.MailDead || last.Problem == "" {
		t.Errorf("%+v", last)
	}
	events, err := s.Audit.LastEvents(t.Context(), auth.EventFilter{Action: auth.ActionFailMail}, 10)
	must(t, err)
	if len(events) != 1 || events[0].UserName != "alice" || events[0].Target != "new_device" {
		t.Errorf("the audit log: %+v", events)
	}
}

// A relay that takes a mail and then says nothing would hold a worker for ever, and with ten of
// them no mail would be sent any more.
func TestARelayThatNeverSaysThatItHasAMailIsLeftAndTheWorkerSendsOthers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.workers = 1
	s.addressed("alice")
	s.addressed("bob")
	arrived, release := s.relay.HoldNext(mailtest.Data)
	s.forgot("alice")
	s.workAs(s.url, authtest.Options{}, mail.SMTPOptions{
		Encryption: mail.Plain, Timeout: 500 * time.Millisecond,
	})
	<-arrived
	s.forgot("bob")
	got := map[string]mailtest.Received{}
	for range 2 {
		received := s.relay.Next(t)
		got[received.To] = received
	}
	s.awaitDone()
	alice := got["alice-canary@example.org"]
	if len(got) != 2 || alice.Code() == "" {
		t.Fatalf("mails to %v", slices.Collect(maps.Keys(got)))
	}
	if first := <-s.told; first.outcome != outbox.Failed {
		t.Errorf("the first try ended as %q", first.outcome)
	}
	if last := s.lastMailOf("alice"); last.Outcome != auth.MailSent || last.Attempts < 2 {
		t.Errorf("%+v", last)
	}
	release() // and then the relay has had it all the time
	if late := s.relay.Next(t); late.Header.Get("Message-Id") != alice.Header.Get("Message-Id") {
		t.Errorf("the mailbox cannot tell that it is a double:\n%s", late.Source)
	}
}

// One that holds its last reply for long holds up no others meanwhile.
func TestOthersAreSentWhileTheRelayHoldsALastReply(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	arrived, release := s.relay.HoldNext(mailtest.Data)
	s.addressed("alice")
	s.addressed("bob")
	s.work(s.url)
	s.forgot("alice")
	<-arrived
	s.forgot("bob")
	if got := s.relay.Next(t); got.To != "bob-canary@example.org" {
		t.Errorf("a mail to %s", got.To)
	}
	release()
	if got := s.relay.Next(t); got.To != "alice-canary@example.org" {
		t.Errorf("a mail to %s", got.To)
	}
	s.awaitDone()
	s.relay.Nothing(t)
	s.wantTold(auth.MailSent, auth.MailSent)
}

// No try makes a mail of it. It must not be tried for days.
func TestALetterThatCannotBeAMailIsGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.addressed("alice")
	s.noticeTo(alice, "no address")
	s.work(s.url)
	s.awaitDone()
	s.wantTold(auth.MailDead)
	if last := s.lastMailOf("alice"); last.Outcome != auth.MailDead || last.Attempts != 1 {
		t.Errorf("%+v", last)
	}
	if said := s.log.String(); !strings.Contains(said, "a mail was given up") || strings.Contains(said, "does not take") {
		t.Errorf("log:\n%s", said)
	}
}

// The end of a mail cannot be noted in a row that is gone. That is no fault, and is counted.
func TestAnAccountThatIsDeletedWhileItsMailIsUnderWayLeavesNoFault(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		refuse func(*mailtest.Server)
		want   auth.MailOutcome
	}{
		"sent":    {func(*mailtest.Server) {}, auth.MailSent},
		"later":   {func(r *mailtest.Server) { r.Refuse(mailtest.Data, 451, "later") }, outbox.Failed},
		"refused": {func(r *mailtest.Server) { r.Refuse(mailtest.Data, 550, "no") }, auth.MailDead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			alice := s.addressed("alice")
			arrived, release := s.relay.Hold(mailtest.Data)
			test.refuse(s.relay)
			s.work(s.url)
			s.forgot("alice")
			<-arrived
			must(t, s.Accounts.Delete(t.Context(), authtest.Operator(), alice.ID))
			release()
			s.awaitDone()
			s.wantTold(test.want)
			if said := s.log.String(); strings.Contains(said, "may be sent once more") ||
				strings.Contains(said, "level=ERROR") {
				t.Errorf("log:\n%s", said)
			}
		})
	}
}

// The secret is replaced once a year, or at once if it has leaked. Nobody should have to ask for a
// mail again only for the first.
func TestMailsThatWaitOutliveANewSecretWhileTheOldOneIsOnTheList(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.addressed("alice")
	challenge := s.forgot("alice")
	s.notice(alice)
	s.relay.Refuse(mailtest.Mail, 451, "try again later")
	stop := s.work(s.url) // the challenge is open, and its mail waits
	s.awaitFailed(4)
	stop()
	for len(s.told) > 0 {
		s.awaitFailed(1)
	}
	s.relay.Accept(mailtest.Mail)
	both := authtest.Options{Secrets: [][]byte{secretOf("n"), secretOf("k")}}
	s.workAs(s.url, both, mail.SMTPOptions{Encryption: mail.Plain})
	received := []mailtest.Received{s.relay.Next(t), s.relay.Next(t)}
	s.awaitDone()
	s.relay.Nothing(t)
	n := slices.IndexFunc(received, func(r mailtest.Received) bool { return r.Code() != "" })
	if n < 0 {
		t.Fatalf("no mail has a code:\n%s", received[0].Text)
	}
	s.Rules = authtest.New(t, s.open(s.url), both)
	s.reset(auth.ChallengeProof{Challenge: challenge, Code: received[n].Code()})
}

// A mail that nobody can read must not be tried for days, and the operator must learn why it did
// not come.
func TestMailsUnderASecretThatIsGoneEndAtOnceAndTheirLogSaysWhy(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.notice(s.addressed("alice"))
	s.forgot("alice")
	s.workAs(s.url, authtest.Options{Secrets: [][]byte{secretOf("n")}}, mail.SMTPOptions{Encryption: mail.Plain})
	s.awaitDone()
	s.relay.Nothing(t)
	s.wantTold(auth.MailDead, auth.MailDead)
	last := s.lastMailOf("alice")
	if last.Outcome != auth.MailDead || last.Attempts != 1 || last.Kind != auth.MailNewDevice ||
		!strings.Contains(last.Problem, "SECRET_KEY") {
		t.Errorf("%+v", last)
	}
	if n := strings.Count(s.log.String(), "cannot be read any more"); n != 2 {
		t.Errorf("log:\n%s", s.log.String())
	}
	events, err := s.Audit.LastEvents(t.Context(), auth.EventFilter{Action: auth.ActionFailMail}, 10)
	must(t, err)
	if len(events) != 2 || events[0].Outcome != "undeliverable" {
		t.Errorf("the audit log: %+v", events)
	}
}

// A relay that looks for viruses takes its time for the last reply. Whoever gives up earlier sends
// the mail again and again.
func TestATryLastsUntilTheLastReplyOfASlowRelay(t *testing.T) {
	t.Parallel()
	worker := outbox.NewWorker(outbox.Options{})
	if got := worker.Timeout(nil); got < 5*mail.DefaultTimeout {
		t.Errorf("%v", got)
	}
}

// Thousands that come back each second keep a relay down. Hours of waiting are too long for people.
func TestMailsComeBackSoonAtFirstAndWithinHalfAnHourEver(t *testing.T) {
	t.Parallel()
	worker := outbox.NewWorker(outbox.Options{})
	for age, want := range map[time.Duration][2]time.Duration{
		0: {time.Second, 2 * time.Second}, time.Minute: {15 * time.Second, 30 * time.Second},
		24 * time.Hour: {15 * time.Minute, 30 * time.Minute},
	} {
		for range 100 {
			if got := worker.Pause(age); got < want[0] || got > want[1] {
				t.Errorf("at the age of %v: %v", age, got)
			}
		}
	}
}
