package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// replicas asks for /users/me through HAProxy, with one replica behind it and with three.
func replicas(ctx context.Context, s *stage, o options) (float64, string, error) {
	sessions, err := s.sessions(ctx, connections)
	if err != nil {
		return 0, "", err
	}
	seen, parts := map[int]load{}, []string{}
	for _, n := range []int{1, 3} {
		proxy, err := s.proxy(ctx, n)
		if err != nil {
			return 0, "", err
		}
		shares, err := s.shares(func() (err error) {
			seen[n], err = wrk(ctx, s, proxy.url+"/users/me", tokens(sessions), o.measure)
			return err
		})
		if err != nil {
			return 0, "", err
		}
		parts = append(parts, fmt.Sprintf("%d: %s, %s", n, seen[n], shares))
	}
	return seen[3].rps / seen[1].rps, strings.Join(parts, "; "), nil
}

// proxy starts HAProxy, as deploy/haproxy.cfg configures it, before so many replicas.
func (s *stage) proxy(ctx context.Context, n int) (*program, error) {
	name := fmt.Sprintf("haproxy before %d", n)
	if p, ok := s.started[name]; ok {
		return p, nil
	}
	var servers []string
	for i := range n {
		p, err := s.replica(ctx, fmt.Sprintf("proxied replica %d", i+1), "TRUSTED_PROXIES=127.0.0.1/32")
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(p.ops)
		if err != nil {
			return nil, err
		}
		servers = append(servers, fmt.Sprintf("server replica%d %s port %s", i+1, strings.TrimPrefix(p.url, "http://"), port))
	}
	public, health := freeAddr(), freeAddr()
	config, err := proxyConfig(filepath.Join(s.root, "deploy/haproxy.cfg"), public, health, servers)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, fmt.Sprintf("haproxy%d.cfg", n))
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	return s.startOn(ctx, pin(0, runtime.NumCPU()), name, public, "http://"+health+"/ready", nil, "haproxy", "-db", "-f", file)
}

// proxyConfig puts addresses of this machine in place of those of the Compose stack.
func proxyConfig(file, public, health string, servers []string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	const resolvers = "resolvers docker\n"
	from := bytes.Index(text, []byte(resolvers))
	to := from + bytes.Index(text[max(from, 0):], []byte("\n\n"))
	if from < 0 || to < from {
		return nil, fmt.Errorf("%s has no resolvers", file)
	}
	text = append(text[:from:from], text[to:]...)
	for old, changed := range map[string]string{
		"    server-template replica 10 gatehouse:8000 resolvers docker init-addr none": "    " + strings.Join(servers, "\n    "),
		"    bind :8000":          "    bind " + public,
		"    bind 127.0.0.1:8404": "    bind " + health,
	} {
		if !bytes.Contains(text, []byte(old+"\n")) {
			return nil, fmt.Errorf("%s has no line %q", file, old)
		}
		text = bytes.Replace(text, []byte(old), []byte(changed), 1)
	}
	return text, nil
}

// idleConnections asks for /verify while many others keep a connection each, and without them.
func idleConnections(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	clients := 10_000
	if o.short {
		clients = 500
	}
	sessions, err := s.sessions(ctx, 1)
	if err != nil {
		return nil, "", err
	}
	// One that has done nothing yet: in the memory of another, connections would find room that was something else's.
	const name = "replica for connections"
	replica, err := s.replica(ctx, name)
	if err != nil {
		return nil, "", err
	}
	defer s.stop(name)
	before := replica.resident("VmRSS")
	idle, err := connect(ctx, replica.url, sessions[0].access, clients)
	defer hangUp(idle)
	if err != nil {
		return nil, "", err
	}
	each := (replica.resident("VmRSS") - before) * 1000 / float64(clients)
	with, err := wrk(ctx, s, replica.url+"/verify", tokens(sessions), o.measure)
	if err != nil {
		return nil, "", err
	}
	hangUp(idle)
	without, err := wrk(ctx, s, replica.url+"/verify", tokens(sessions), o.measure)
	if err != nil {
		return nil, "", err
	}
	return []float64{with.rps / without.rps, each}, fmt.Sprintf("%d idle clients: %s; without: %s; %.1f kB each", clients, with, without, each), nil
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
