package rows

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/load"
	"gatehouse.example/internal/keychain"
)

// mails is how fast one replica sends mails that wait, by a relay that takes them at once. Each is
// one to somebody who has forgotten the password, which is the kind with the most to do: it looks
// for the account, counts the limits, and makes a challenge.
func mails(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	const name = "replica that sends mails"
	waiting := 5000
	if o.Short {
		waiting = 50
	}
	relay, err := startSink()
	if err != nil {
		return nil, "", err
	}
	defer relay.Close()
	replica, err := s.Replica(ctx, name, append(unreachableLimits(), mailSettings(relay)...)...)
	if err != nil {
		return nil, "", err
	}
	defer s.Stop(name)
	time.Sleep(time.Second) // until it is idle
	idle := replica.Resident("VmRSS")
	ids, users, err := s.queueMails(ctx, waiting)
	if err != nil {
		return nil, "", err
	}
	var done, sent int
	var problems string
	var took, each float64
	for done < waiting {
		time.Sleep(100 * time.Millisecond)
		// From the first mail to the last: it takes a moment until the replica looks for the first.
		if err := s.Pool.QueryRow(ctx, `SELECT count(outcome), count(*) FILTER (WHERE outcome = 'sent'), coalesce(extract(epoch FROM max(done_at) - min(admitted_at)), 0)::float8,
			coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM done_at - admitted_at)), 0)::float8,
			coalesce(string_agg(DISTINCT outcome || ' ' || problem, ', '), '')
			FROM mails WHERE id = ANY ($1)`, ids).Scan(&done, &sent, &took, &each, &problems); err != nil {
			return nil, "", err
		}
	}
	if sent != waiting {
		return nil, "", fmt.Errorf("of %d mails %d were sent: %s", waiting, sent, problems)
	}
	busy := replica.Resident("VmHWM")
	known, unknown, err := forget(ctx, replica.URL, users, o.Measure)
	return []float64{float64(sent) / took, busy - idle, known, known / unknown}, fmt.Sprintf("%d mails in %.1f s, each of which has taken %.1f ms with the relay; "+
		"the memory was %.1f MB before, and %.1f MB at most; POST /password/forgot %.0f/s for accounts, %.0f/s for none", sent, took, 1000*each, idle, busy, known, unknown), err
}

// forget returns how many requests a second ask for a mail, for names of accounts, and for names of
// none. What waits for the worker grows all the time, which slows down later requests. So those for
// accounts come first and last.
func forget(ctx context.Context, url string, users []uuid.UUID, d time.Duration) (known, unknown float64, err error) {
	client := api.NewClient()
	defer client.CloseIdleConnections()
	for _, account := range []bool{true, false, false, true} {
		var next atomic.Int64
		rate, err := load.ClosedLoop(ctx, load.Connections, d/2, func(ctx context.Context, _ int) error {
			login := uuid.New()
			if account {
				login = users[int(next.Add(1))%len(users)]
			}
			_, err := timeForgot(ctx, client, url, login.String())
			return err
		})
		if err != nil {
			return 0, 0, err
		}
		if account {
			known += rate / 2
		} else {
			unknown += rate / 2
		}
	}
	return known, unknown, nil
}

// queueMails queues so many mails at once, for as many users.
func (s *Run) queueMails(ctx context.Context, n int) (ids, users []uuid.UUID, err error) {
	sealer := s.Keys.Sealer(keychain.Mails)
	sessions, err := s.Sessions(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	var sealed [][]byte
	for _, one := range sessions {
		users = append(users, one.User)
		plain, err := json.Marshal(map[string]string{"login": one.User.String(), "language": "en"})
		if err != nil {
			return nil, nil, err
		}
		id := uuid.New()
		ids, sealed = append(ids, id), append(sealed, sealer.Seal(id.String(), plain))
	}
	if _, err := s.Pool.Exec(ctx, `UPDATE users SET email = id || '@example.org', email_key = id || '@example.org', email_verified_at = now()
		WHERE id = ANY ($1)`, users); err != nil {
		return nil, nil, err
	}
	_, err = s.Pool.Exec(ctx, `SELECT queue_mail(jsonb_build_object('id', id, 'kind', 'reset', 'sealed', encode(sealed, 'base64'), 'lifetime_seconds', 600), NULL)
		FROM unnest($1::uuid[], $2::bytea[]) m (id, sealed)`, ids, sealed)
	return ids, users, err
}

// mailSettings turn mails on, with limits for strangers that nobody reaches.
func mailSettings(relay net.Listener) []string {
	return []string{
		"SMTP_URL=smtp://" + relay.Addr().String() + "?starttls=off", "MAIL_FROM=login@example.org", "EMAIL=required",
		"ADDRESS_MAILS=1000000", "ADDRESS_MAILS_PER_HOUR=1000000", "MAILS_PER_HOUR=1000000",
	}
}

// startSink starts a relay that takes every mail and forgets it. It does not look at what it is
// told, so that it takes as little of the machine as can be.
func startSink() (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go sink(conn)
		}
	}()
	return listener, nil
}

func sink(conn net.Conn) {
	defer conn.Close()
	reply := "220 sink"
	for in := bufio.NewReader(conn); ; {
		if _, err := fmt.Fprintf(conn, "%s\r\n", reply); err != nil || reply == "221 bye" {
			return
		}
		line, err := in.ReadString('\n')
		for err == nil && reply == "354 go on" && line != ".\r\n" {
			line, err = in.ReadString('\n')
		}
		if err != nil {
			return
		}
		switch command := strings.ToUpper(strings.TrimSpace(line)); {
		case reply == "354 go on":
			reply = "250 kept"
		case command == "DATA":
			reply = "354 go on"
		case command == "QUIT":
			reply = "221 bye"
		default:
			reply = "250 ok"
		}
	}
}
