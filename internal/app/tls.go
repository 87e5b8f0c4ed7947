package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/internal/config"
	"gatehouse.example/internal/follow"
)

// certificateEvery is how often the files of the certificate are looked at. What renews them, such
// as certbot or a Kubernetes secret, tells nobody.
const certificateEvery = time.Second

// certificate is that of the public port. It follows its files, so that a renewed one needs no
// restart. One that cannot be read leaves the one before in use.
type certificate struct {
	chain, key string // names of files
	read       [2][]byte
	held       atomic.Pointer[tls.Certificate]
}

// newCertificate reads the certificate of TLS_CERT_FILE. Without that setting it is nil.
func newCertificate(s config.Serve, metrics prometheus.Registerer) (*certificate, error) {
	if s.TLSCertFile == "" {
		return nil, nil
	}
	c := &certificate{chain: s.TLSCertFile, key: s.TLSKeyFile}
	if err := c.renew(context.Background(), false); err != nil {
		return nil, &config.Error{Setting: "TLS_CERT_FILE", Problem: err.Error()}
	}
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_tls_certificate_expiry_timestamp_seconds",
		Help: "When the certificate of the public port ends, as a Unix time.",
	}, func() float64 { return float64(c.held.Load().Leaf.NotAfter.Unix()) }))
	return c, nil
}

// follow returns the loop that reads the files again.
func (c *certificate) follow(log *slog.Logger) *background {
	return &background{run: follow.Loop{
		Step: c.renew, Every: certificateEvery, Log: log,
		Failing:   "the certificate cannot be read anew, the one before stays in use",
		Recovered: "the certificate can be read again",
	}.Run}
}

// renew takes what the files hold, if it has changed and fits together.
func (c *certificate) renew(context.Context, bool) error {
	chain, err := os.ReadFile(c.chain)
	key, keyErr := os.ReadFile(c.key)
	if err := errors.Join(err, keyErr); err != nil {
		return err
	}
	if bytes.Equal(chain, c.read[0]) && bytes.Equal(key, c.read[1]) {
		return nil
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", c.chain, c.key, err)
	}
	c.read = [2][]byte{chain, key}
	c.held.Store(&pair)
	return nil
}

// config is how connections with the certificate begin: TLS 1.2 or later, and HTTP/2 where the
// client has it.
func (c *certificate) config() *tls.Config {
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return c.held.Load(), nil
	}}
}
