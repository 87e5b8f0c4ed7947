package auth

import (
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"time"

	"gatehouse.example/internal/keychain"
)

const (
	// demandLifetime is how long somebody may take for the login that an app demands.
	demandLifetime = 15 * time.Minute

	// demandMargin is how far the clocks of a replica and of the database may be apart.
	demandMargin = time.Minute

	demandBody = 8 + 8 // after, until
)

// loginDemands write down that an app demands a login: after which time, and until when the demand
// is good. A demand goes through the browser, in the URL to which the login leads. It has a MAC, so
// that whoever sits at an unlocked screen cannot take the demand back. It is bound to its request:
// a demand that somebody got elsewhere, before the last login, is none for another request.
type loginDemands struct {
	macs  keychain.MACs
	clock func() time.Time
}

// boundTo is what a demand is bound to. A state or a nonce is of one login of the app.
func boundTo(r AuthorizationRequest) []byte {
	return []byte(url.Values{
		"client_id": {r.Client.ID}, "redirect_uri": {r.RedirectURI}, "state": {r.State},
		"nonce": {r.Nonce}, "code_challenge": {r.Challenge},
	}.Encode())
}

// make writes a demand for a login after the one of the session.
func (d loginDemands) make(r AuthorizationRequest, session *Browser) string {
	now := d.clock()
	after := now.Add(-demandMargin)
	if session != nil {
		after = session.AuthTime
	}
	body := binary.BigEndian.AppendUint64(nil, uint64(after.UnixMicro()))
	body = binary.BigEndian.AppendUint64(body, uint64(now.Add(demandLifetime).UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(
		append(body, d.macs.Make(body, boundTo(r))...))
}

// read returns the time after which the login must be. It is zero for what is no demand of this
// request, or is not good any more: then a login is demanded anew.
func (d loginDemands) read(r AuthorizationRequest, raw string) (after time.Time) {
	body, err := base64.RawURLEncoding.Strict().DecodeString(raw)
	if err != nil || len(body) <= demandBody ||
		!d.macs.Verify(body[demandBody:], body[:demandBody], boundTo(r)) {
		return time.Time{}
	}
	until := time.UnixMicro(int64(binary.BigEndian.Uint64(body[8:demandBody])))
	if !d.clock().Before(until) {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(body[:8])))
}
