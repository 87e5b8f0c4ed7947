package stage

import (
	"context"

	"github.com/descope/virtualwebauthn"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/otp"
)

// GiveApps gives users authenticator apps, all with one secret.
func (s *Stage) GiveApps(ctx context.Context, usernames []string) (otp.Secret, error) {
	found, err := s.Pool.Query(ctx, "SELECT id FROM users WHERE username = ANY ($1)", usernames)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, err
	}
	secret, sealer := otp.NewSecret(), s.Keys.Sealer(keychain.TOTPSecrets)
	var sealed [][]byte
	for _, id := range ids {
		sealed = append(sealed, sealer.Seal(id.String(), secret))
	}
	_, err = s.Pool.Exec(ctx, "INSERT INTO totp_secrets (user_id, sealed, last_step) SELECT *, 0 FROM unnest($1::uuid[], $2::bytea[])", ids, sealed)
	return secret, err
}

// Passkeys are those of many users, all with one key. Their ids are those of the users.
type Passkeys struct{ key *virtualwebauthn.Key }

// GivePasskeys gives each of the users one.
func (s *Stage) GivePasskeys(ctx context.Context, usernames []string) (Passkeys, error) {
	made := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	for len(made.Key.AttestationData()) != 77 { // it leaves out zeros at the begin of a coordinate
		made = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	_, err := s.Pool.Exec(ctx, `
		INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, user_verified, transports)
		SELECT id, id, uuid_send(id), $2, 'bench', 0, id, false, false, true, '{}'
		FROM users
		WHERE username = ANY ($1)`, usernames, made.Key.AttestationData())
	return Passkeys{made.Key}, err
}

// Answer is what the browser of a user answers to the options for a login.
func (p Passkeys) Answer(user uuid.UUID, options []byte) (string, error) {
	asked, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		return "", err
	}
	key := virtualwebauthn.NewCredentialWithImportedKey(p.key.Type, p.key.Data) // of its own: one cannot sign twice at once
	key.ID = user[:]
	return virtualwebauthn.CreateAssertionResponse(virtualwebauthn.RelyingParty{ID: "localhost", Origin: IssuerURL},
		virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: user[:]}), key, *asked), nil
}
