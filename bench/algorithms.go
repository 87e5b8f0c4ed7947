package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/token"
)

// signed is a replica whose tokens are signed with an algorithm, one that remembers none of them, and a token.
type signed struct {
	remembers, forgets *program
	token              string
}

func algorithmsInUse() []token.Algorithm {
	return []token.Algorithm{token.HS256, token.ES256, token.EdDSA, token.RS256}
}

// algorithms is GET /verify by each algorithm, with a token that is known and with one that is verified anew each time, against
// the handler that does nothing.
func algorithms(ctx context.Context, s *stage, o options) (ratios []float64, detail string, err error) {
	bare, err := s.bare(ctx)
	if err != nil {
		return nil, "", err
	}
	var parts []string
	for _, algorithm := range algorithmsInUse() {
		of, err := s.signedWith(ctx, algorithm)
		if err != nil {
			return nil, "", err
		}
		var rates [3]load
		for n, url := range []string{bare.url, of.remembers.url, of.forgets.url} {
			if rates[n], err = wrk(ctx, s, url+"/verify", []string{of.token}, o.measure); err != nil {
				return nil, "", fmt.Errorf("%s: %w", algorithm, err)
			}
		}
		ratios = append(ratios, rates[1].rps/rates[0].rps, rates[2].rps/rates[0].rps)
		parts = append(parts, fmt.Sprintf("%s: known %s; new %s; bare %s", algorithm, rates[1], rates[2], rates[0]))
	}
	return ratios, strings.Join(parts, "; "), nil
}

// signedWith starts the replicas of an algorithm on a database of their own, once.
func (s *stage) signedWith(ctx context.Context, algorithm token.Algorithm) (signed, error) {
	if known, ok := s.signers[algorithm]; ok {
		return known, nil
	}
	name := strings.ToLower(string(algorithm))
	pool, url, err := s.separateDatabase(ctx, "signed_with_"+name)
	if err != nil {
		return signed{}, err
	}
	defer pool.Close()
	ring, err := token.SecretRing([][]byte{[]byte(secretKey)})
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
		sealer, err := token.NewSealer([][]byte{[]byte(secretKey)})
		if err != nil {
			return signed{}, err
		}
		if _, err := pool.Exec(ctx, `INSERT INTO signing_keys (kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at, activated_at)
			VALUES ($1, $2, 'active', $3, $4, 3600, now(), now())`, key.ID(), algorithm, string(key.PublicJWK()), sealer.Seal(key.ID(), private)); err != nil {
			return signed{}, err
		}
		if ring, err = token.NewRing(key); err != nil {
			return signed{}, err
		}
	}
	issuer, err := token.NewIssuer(token.Settings{Ring: ring, Issuer: issuerURL, Audience: "gatehouse", Lifetime: time.Hour})
	if err != nil {
		return signed{}, err
	}
	var made signed
	anybody := token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "user", Version: 1}
	if made.token, err = issuer.Issue(time.Now(), anybody, time.Hour); err != nil {
		return signed{}, err
	}
	const few = "DATABASE_MAX_CONNS=1" // eight replicas would else leave none to the rows behind
	if made.remembers, err = s.service(ctx, name, s.binary(), url, few); err != nil {
		return signed{}, err
	}
	made.forgets, err = s.service(ctx, name+" uncached", s.binary(), url, few, "TOKEN_CACHE_SIZE=0")
	if err == nil {
		s.signers[algorithm] = made
	}
	return made, err
}
