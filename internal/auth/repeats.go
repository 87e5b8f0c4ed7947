package auth

import (
	"net/netip"
	"time"
)

// A used refresh token is answered again for a while, since answers get lost. A thief who knows
// when the token is used could share the session by that: the owner and the thief would go on with
// the same tokens. So every repeat is recorded in the audit log. A repeat from another network than
// that of the refresh before is answered once: a phone that changes networks does that. Repeats
// from elsewhere at two rotations in a row, or twice at one rotation, end the session: a thief must
// repeat each time.
//
// A thief in the owner's own network is recorded, and not stopped.

type refreshDecision int

const (
	refreshRefuse refreshDecision = iota
	refreshRotate
	refreshRepeat
	refreshRepeatElsewhere
	refreshReused
)

// answers reports whether the decision gives tokens.
func (d refreshDecision) answers() bool {
	return d == refreshRotate || d == refreshRepeat || d == refreshRepeatElsewhere
}

// decideRefresh decides about the n-th refresh token of a session, sent from a network.
func decideRefresh(
	s SessionState, n int64, from netip.Prefix, limits SessionLimits,
) refreshDecision {
	switch {
	case s.User.Disabled(), s.User.MustChangePassword, s.EndedAt != nil,
		!s.Now.Before(s.IdleExpiresAt), !s.Now.Before(s.ExpiresAt):
		return refreshRefuse
	case n > s.Counter:
		return refreshRefuse // from a time that a restored database does not know
	case n == s.Counter:
		return refreshRotate
	case n < s.Counter-1, limits.Grace <= 0, s.Now.Sub(s.RotatedAt).Abs() > limits.Grace:
		return refreshReused
	case !elsewhere(s.RotatedNetwork, from):
		return refreshRepeat
	// neither at this rotation nor at the one before
	case limits.RepeatElsewhere && s.RepeatedElsewhereAt < s.Counter-1:
		return refreshRepeatElsewhere
	}
	return refreshReused
}

// elsewhere reports whether two networks are known to be different. A client with addresses of both
// families uses one and then the other, so an IPv4 and an IPv6 network say nothing about each
// other. Neither does a network that is not known.
func elsewhere(a, b netip.Prefix) bool {
	return a.IsValid() && b.IsValid() && a.Addr().Is4() == b.Addr().Is4() && a != b
}

// site returns the network that decides whether a client has moved: the /24 of an IPv4 address, or
// the /48 of an IPv6 address, of which a home or a company has one (RFC 6177 §2). It is zero for
// text that is no address.
func site(address string) netip.Prefix {
	host := network(address)
	if addr, err := netip.ParseAddr(host); err == nil {
		return netip.PrefixFrom(addr, 24).Masked()
	}
	prefix, err := netip.ParsePrefix(host)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(prefix.Addr(), 48).Masked()
}

// Blunted returns a session as it is shown to a holder of one of its user's tokens. That may be a
// thief, and a thief who sees when a refresh token is used knows when to repeat it. So the last use
// is rounded to the day. A session that is used each day shows today, whatever the hour of its use
// was. The idle expiry is shown accordingly.
func (s Session) Blunted(now time.Time) Session {
	const day = 24 * time.Hour
	idle, rested := s.IdleExpiresAt.Sub(s.LastUsedAt), max(now.Sub(s.LastUsedAt), 0).Truncate(day)
	s.LastUsedAt = latest(s.CreatedAt, now.Add(-rested).Truncate(day))
	if ends := s.LastUsedAt.Add(idle); s.IdleExpiresAt.Before(s.ExpiresAt) &&
		ends.Before(s.ExpiresAt) {
		s.IdleExpiresAt = ends
	} else {
		s.IdleExpiresAt = s.ExpiresAt
	}
	return s
}
