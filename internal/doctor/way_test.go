package doctor

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestEachJudgementOfTheWayAndTheWorkSaysHowBadItIs(t *testing.T) {
	t.Parallel()
	const issuer = "https://id.example.org"
	now := at("2026-12-01")
	proxies := func(issuer string, endsTLS bool, networks ...string) Finding {
		var trusted []netip.Prefix
		for _, n := range networks {
			trusted = append(trusted, netip.MustParsePrefix(n))
		}
		return Proxies(trusted, issuer, endsTLS)
	}
	way := func(p Passage) Finding {
		p.Status, p.RequestID = 200, "id-1"
		return Way(p, issuer)
	}
	days := func(left int) Finding { return Certificate(nil, now.AddDate(0, 0, left), now) }
	waiting := func(oldest time.Duration) Finding {
		return Jobs([]Queue{{Name: "mail"}, {"backchannel_logout", 7, oldest}})
	}
	mark := errors.New("mark")
	judged(t, []judgement{
		{proxies(issuer, false), Warn, "one address"},
		{proxies(issuer, true), OK, "not set"},
		{proxies("http://localhost:8000", false), OK, "not set"},
		{proxies(issuer, false, "10.0.0.0/8", "fd00::/16"), OK, "10.0.0.0/8"},
		{proxies(issuer, false, "10.0.0.1/32", "128.0.0.0/1"), Warn, "128.0.0.0/1"},
		{proxies(issuer, false, "2000::/3"), Warn, "2000::/3"},

		{way(Passage{}), Fail, "not Gatehouse: status 200"},
		{way(Passage{Issuer: "https://other.example"}), Fail, "https://other.example"},
		{way(Passage{Issuer: issuer, HTTPS: true, TLSKnown: true, LieTaken: true, IDTaken: true}), Fail, "believed a lie"},
		{way(Passage{Issuer: issuer, LieTaken: true}), Fail, "believed a lie"},
		{way(Passage{Issuer: issuer, HTTPS: true}), Fail, "does not know that the client used TLS"},
		{way(Passage{Issuer: issuer, HTTPS: true, TLSKnown: true, IDTaken: true}), Warn, "X-Request-Id"},
		{way(Passage{Issuer: issuer, HTTPS: true, TLSKnown: true}), OK, "request_id id-1"},
		{way(Passage{Issuer: issuer}), OK, "no answer tells the address"},

		{days(22), OK, "2026-12-23"},
		{days(20), Warn, "in 20 days"},
		{Certificate(mark, now, now), Fail, "mark"},

		{Hashing(250*time.Millisecond, 2), OK, "250ms, which makes 8.0 logins a second with 2 cores"},
		{Hashing(1001*time.Millisecond, 2), Warn, "1.001s"},
		{Hashing(49*time.Millisecond, 2), Warn, "49ms"},

		{Mail("off", false, nil), OK, "off"},
		{Mail("required", false, nil), Warn, "no mail is sent"},
		{Mail("optional", true, mark), Fail, "mark"},
		{Mail("optional", true, nil), OK, "would take mails"},

		{Upkeep(Growth{Bytes: 12_345_678, RoomUntil: at("2027-03-01")}, now), OK, "12.3 MB; the audit log has room until 2027-03-01"},
		{Upkeep(Growth{RoomUntil: at("2026-12-31")}, now), Warn, "until 2026-12-31"},
		{Upkeep(Growth{RoomUntil: at("2026-11-30")}, now), Fail, "no room for today"},
		{Upkeep(Growth{RoomUntil: at("2027-03-01"), Overdue: 999}, now), OK, ""},
		{Upkeep(Growth{RoomUntil: at("2027-03-01"), Overdue: 2000}, now), Warn, "at least 2000 rows"},

		{Jobs(nil), OK, "wait: 0"},
		{waiting(time.Minute), OK, "wait: 7"},
		{waiting(61 * time.Second), Warn, "7 jobs of the queue backchannel_logout wait, the oldest for 1m1s"},
	})
}
