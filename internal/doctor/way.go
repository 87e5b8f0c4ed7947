package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Proxies judges whose word is taken for where a request comes from. There is a proxy if ISSUER is
// https and the service does not speak it.
func Proxies(trusted []netip.Prefix, issuer string, endsTLS bool) Finding {
	for _, network := range trusted {
		if network.Bits() < 8 || network.Addr().Is6() && network.Bits() < 16 {
			return Warned(fmt.Sprintf("whoever is in %v, of TRUSTED_PROXIES, says where requests come from", network),
				"name the addresses of your proxies alone")
		}
	}
	switch {
	case len(trusted) > 0:
		return Good("TRUSTED_PROXIES: %v", trusted)
	case strings.HasPrefix(issuer, "https:") && !endsTLS:
		return Warned("TRUSTED_PROXIES is not set, though a proxy must end the TLS of ISSUER, so all of its clients are one address",
			"set TRUSTED_PROXIES to the addresses of the proxy")
	}
	return Good("TRUSTED_PROXIES is not set")
}

// Lie is what a request says of its origin that is not true: an address that nobody has (RFC 5737).
const Lie = "192.0.2.1"

// Passage is what came back of two requests through the proxy. The second one lies about its
// origin, as a client may try.
type Passage struct {
	HTTPS     bool
	Status    int
	Issuer    string // in the metadata that was answered
	TLSKnown  bool   // the answer speaks of TLS, as it does where the replica knows that the client used it
	LieTaken  bool   // the lie about TLS made a difference
	IDTaken   bool   // the answer has the request id of the lie
	RequestID string // of the answer to the lie
}

// Way judges how requests come through the proxy. No answer tells the address that a replica saw.
// So the operator is told where to look for it.
func Way(p Passage, issuer string) Finding {
	look := fmt.Sprintf("look into the log of the replicas for request_id %s, whose client must be the address of this machine, and not %s",
		p.RequestID, Lie)
	switch {
	case p.Issuer == "":
		return Failed(fmt.Sprintf("what answers is not Gatehouse: status %d", p.Status),
			"give --via the URL that clients use, with the path of ISSUER")
	case p.Issuer != issuer:
		return Failed("what answers has another ISSUER: "+p.Issuer, "give the replicas and doctor the same settings")
	case p.LieTaken:
		return Failed("the replica believed a lie about TLS, since the proxy passes on what clients write into X-Forwarded-Proto or Forwarded, or since this machine is in TRUSTED_PROXIES",
			"have the proxy set these headers itself, as deploy/haproxy.cfg does; "+look)
	case p.HTTPS && !p.TLSKnown:
		return Failed("the replica does not know that the client used TLS",
			"set TRUSTED_PROXIES to the address of the proxy, and have it set X-Forwarded-Proto; "+look)
	case p.IDTaken:
		return Warned("clients choose the X-Request-Id of the log, since the proxy passes it on, or since this machine is in TRUSTED_PROXIES",
			"have the proxy set X-Request-Id itself; "+look)
	}
	return Good("no lie about TLS or the request id was believed; no answer tells the address that a replica saw, so %s", look)
}

// Certificate judges what a server proves itself with.
func Certificate(err error, end, now time.Time) Finding {
	left := int(end.Sub(now).Hours() / 24)
	switch {
	case err != nil:
		return Broken(err, "see that clients reach the service there, and that it has a certificate for this name, with its whole chain")
	case left < 21:
		return Warned(fmt.Sprintf("it ends in %d days, on %s", left, end.UTC().Format(time.DateOnly)),
			"see why it was not renewed by itself")
	}
	return Good("it names the host, and ends on %s", end.UTC().Format(time.DateOnly))
}
