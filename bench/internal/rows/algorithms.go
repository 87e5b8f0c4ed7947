package rows

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/stage"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

// signed is a database whose tokens are signed with an algorithm, and a token.
type signed struct{ database, token string }

func algorithmsInUse() []token.Algorithm {
	return []token.Algorithm{token.HS256, token.ES256, token.EdDSA, token.RS256}
}

// algorithms is GET /verify by each algorithm, with a token that is known and with one that is
// verified anew each time, against the handler that does nothing.
func algorithms(ctx context.Context, s *Run, o Options) (ratios []float64, detail string, err error) {
	bare, err := s.Baseline(ctx)
	if err != nil {
		return nil, "", err
	}
	var parts []string
	for _, algorithm := range algorithmsInUse() {
		of, err := s.signedWith(ctx, algorithm)
		if err != nil {
			return nil, "", err
		}
		var rates [3]load.Result
		if rates[0], err = wrk(ctx, s, bare.URL+"/verify", []string{of.token}, o.Measure); err != nil {
			return nil, "", err
		}
		for n, size := range []string{"100000", "0"} {
			if rates[n+1], err = s.verifyAt(ctx, of, o, "TOKEN_CACHE_SIZE="+size); err != nil {
				return nil, "", fmt.Errorf("%s: %w", algorithm, err)
			}
		}
		ratios = append(ratios, rates[1].RPS/rates[0].RPS, rates[2].RPS/rates[0].RPS)
		parts = append(parts, fmt.Sprintf("%s: known %s; new %s; bare %s", algorithm, rates[1], rates[2], rates[0]))
	}
	return ratios, strings.Join(parts, "; "), nil
}

// verifyAt measures a replica that is there for that alone: many would leave no connection to
// PostgreSQL for other rows.
func (s *Run) verifyAt(ctx context.Context, of signed, o Options, setting string) (load.Result, error) {
	const name = "by algorithm"
	replica, err := s.Service(ctx, name, s.Binary(), of.database, setting)
	if err != nil {
		return load.Result{}, err
	}
	defer s.Stop(name)
	return wrk(ctx, s, replica.URL+"/verify", []string{of.token}, o.Measure)
}

// signedWith makes the database of an algorithm, once.
func (s *Run) signedWith(ctx context.Context, algorithm token.Algorithm) (signed, error) {
	if known, ok := s.signers[algorithm]; ok {
		return known, nil
	}
	pool, url, err := s.SeparateDatabase(ctx, "signed_with_"+strings.ToLower(string(algorithm)))
	if err != nil {
		return signed{}, err
	}
	defer pool.Close()
	ring, err := token.SecretRing([][]byte{[]byte(stage.SecretKey)})
	if err != nil {
		return signed{}, err
	}
	if algorithm != token.HS256 {
		key, err := token.GenerateKey(algorithm)
		if err != nil {
			return signed{}, err
		}
		private, err := key.MarshalPrivate()
		if err != nil {
			return signed{}, err
		}
		sealed := s.Keys.Sealer(keychain.SigningKeys).Seal(key.ID(), private)
		if _, err := pool.Exec(ctx, `INSERT INTO signing_keys (kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at, activated_at)
			VALUES ($1, $2, 'active', $3, $4, 3600, now(), now())`, key.ID(), algorithm, string(key.PublicJWK()), sealed); err != nil {
			return signed{}, err
		}
		if ring, err = token.NewRing(key); err != nil {
			return signed{}, err
		}
	}
	issuer, err := token.NewIssuer(token.Settings{Ring: ring, Issuer: stage.IssuerURL, Audience: "gatehouse", Lifetime: time.Hour})
	if err != nil {
		return signed{}, err
	}
	anybody := token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "user", Version: 1}
	raw, err := issuer.Issue(time.Now(), anybody, time.Hour)
	if err != nil {
		return signed{}, err
	}
	s.signers[algorithm] = signed{url, raw}
	return s.signers[algorithm], nil
}
