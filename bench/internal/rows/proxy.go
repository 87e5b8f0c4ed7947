package rows

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/bench/internal/stage"
)

// proxy starts HAProxy, as deploy/haproxy.cfg configures it, before so many replicas.
func (s *Run) proxy(ctx context.Context, n int) (*stage.Program, error) {
	name := fmt.Sprintf("haproxy before %d", n)
	if p, ok := s.Started[name]; ok {
		return p, nil
	}
	var servers []string
	for i := range n {
		p, err := s.Replica(ctx, fmt.Sprintf("proxied replica %d", i+1), "TRUSTED_PROXIES=127.0.0.1/32")
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(p.Ops)
		if err != nil {
			return nil, err
		}
		servers = append(servers, fmt.Sprintf("server replica%d %s port %s", i+1, strings.TrimPrefix(p.URL, "http://"), port))
	}
	public, health := stage.FreeAddr(), stage.FreeAddr()
	config, err := proxyConfig(filepath.Join(s.Root, "deploy/haproxy.cfg"), public, health, servers)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.Dir, fmt.Sprintf("haproxy%d.cfg", n))
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	return s.StartOn(ctx, machine.AnyProcessor(), name, public, "http://"+health+"/ready", nil, "haproxy", "-db", "-f", file)
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
