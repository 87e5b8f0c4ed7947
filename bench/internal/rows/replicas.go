package rows

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/stage"
)

// replicas asks for /users/me through HAProxy, with one replica behind it and with three.
func replicas(ctx context.Context, s *Run, o Options) (float64, string, error) {
	sessions, err := s.Sessions(ctx, load.Connections)
	if err != nil {
		return 0, "", err
	}
	seen, parts := map[int]load.Result{}, []string{}
	for _, n := range []int{1, 3} {
		proxy, err := s.proxy(ctx, n)
		if err != nil {
			return 0, "", err
		}
		shares, err := s.Shares(func() (err error) {
			seen[n], err = wrk(ctx, s, proxy.URL+"/users/me", stage.Tokens(sessions), o.Measure)
			return err
		})
		if err != nil {
			return 0, "", err
		}
		parts = append(parts, fmt.Sprintf("%d: %s, %s", n, seen[n], shares))
	}
	return seen[3].RPS / seen[1].RPS, strings.Join(parts, "; "), nil
}

// idleConnections asks for /verify while many others keep a connection each, and without them.
func idleConnections(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	clients := 10_000
	if o.Short {
		clients = 500
	}
	sessions, err := s.Sessions(ctx, 1)
	if err != nil {
		return nil, "", err
	}
	// One that has done nothing yet: in the memory of another, connections would find room that was
	// something else's.
	const name = "replica for connections"
	replica, err := s.Replica(ctx, name)
	if err != nil {
		return nil, "", err
	}
	defer s.Stop(name)
	before := replica.Resident("VmRSS")
	idle, err := connect(ctx, replica.URL, sessions[0].Access, clients)
	defer hangUp(idle)
	if err != nil {
		return nil, "", err
	}
	each := (replica.Resident("VmRSS") - before) * 1000 / float64(clients)
	with, err := wrk(ctx, s, replica.URL+"/verify", stage.Tokens(sessions), o.Measure)
	if err != nil {
		return nil, "", err
	}
	hangUp(idle)
	without, err := wrk(ctx, s, replica.URL+"/verify", stage.Tokens(sessions), o.Measure)
	if err != nil {
		return nil, "", err
	}
	return []float64{with.RPS / without.RPS, each}, fmt.Sprintf("%d idle clients: %s; without: %s; %.1f kB each", clients, with, without, each), nil
}

// hangUp may be called again.
func hangUp(all []net.Conn) {
	for _, conn := range all {
		conn.Close()
	}
}

// connect makes connections that have each had an answer, and that stay.
func connect(ctx context.Context, base, access string, n int) ([]net.Conn, error) {
	all, errs := make([]net.Conn, n), make(chan error, n)
	request := fmt.Sprintf("GET /verify HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n\r\n", access)
	var dialing sync.WaitGroup
	dial := func(at int) (err error) {
		if all[at], err = (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(base, "http://")); err != nil {
			return err
		}
		if _, err := io.WriteString(all[at], request); err != nil {
			return err
		}
		answer := make([]byte, 4096) // more than it is long; it comes in one write
		if got, err := all[at].Read(answer); err != nil || !bytes.Contains(answer[:got], []byte(fmt.Sprint(http.StatusNoContent))) {
			return fmt.Errorf("an idle client: %w: %s", err, answer[:got])
		}
		return nil
	}
	const dialers = 64
	for d := range dialers {
		dialing.Go(func() {
			for at := d; at < n; at += dialers {
				if err := dial(at); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	dialing.Wait()
	made := all[:0]
	for _, conn := range all {
		if conn != nil {
			made = append(made, conn)
		}
	}
	if len(errs) > 0 {
		return made, <-errs
	}
	return made, nil
}
