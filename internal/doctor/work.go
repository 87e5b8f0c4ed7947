package doctor

import (
	"fmt"
	"time"
)

// Hashing judges how long a password takes. The time is that of a thread at low priority, while
// the machine did whatever else it had to.
func Hashing(one time.Duration, cores int) Finding {
	found := fmt.Sprintf("a password takes %v, which makes %.1f logins a second with %d cores",
		one.Round(time.Millisecond), float64(cores)/one.Seconds(), cores)
	switch {
	case one > time.Second:
		return Warned(found, "lower BCRYPT_COST, or give the service more of a processor: a flood of logins fills the queue soon")
	case one < 50*time.Millisecond:
		return Warned(found, "raise BCRYPT_COST: whoever steals the hashes guesses as fast")
	}
	return Good("%s", found)
}

// Mail judges whether mails leave. The relay was asked if there is one.
func Mail(mode string, hasRelay bool, err error) Finding {
	switch {
	case mode == "off" && !hasRelay:
		return Good("EMAIL is off")
	case !hasRelay:
		return Warned("EMAIL is "+mode+", and no mail is sent, since there is no relay", "set SMTP_URL and MAIL_FROM")
	}
	return Unless(err, "`gatehouse mail test ADDRESS` tells each step", "the relay answers, and would take mails")
}

// Growth is what a database has in it that should not become more and more.
type Growth struct {
	Bytes int64
	// RoomUntil is the end of the last month for which the audit log has a partition.
	RoomUntil time.Time
	// Overdue are rows of no use that upkeep should have deleted. At most [MostOverdue] are
	// counted.
	Overdue int
}

// MostOverdue is how many rows that should be gone are counted. Upkeep deletes as many each minute.
const MostOverdue = 1000

// Upkeep judges whether what each replica should do for the database is done.
func Upkeep(g Growth, now time.Time) Finding {
	const next = "see that a replica runs, and look into its log for `upkeep failed`"
	size := fmt.Sprintf("the database has %.1f MB", float64(g.Bytes)/1e6)
	room := "; the audit log has room until " + g.RoomUntil.UTC().Format(time.DateOnly)
	switch {
	case now.After(g.RoomUntil):
		return Failed(size+"; the audit log has no room for today", next)
	case now.AddDate(0, 1, 0).After(g.RoomUntil):
		return Warned(size+room, next)
	case g.Overdue >= MostOverdue:
		return Warned(fmt.Sprintf("%s; at least %d rows of no use are left", size, g.Overdue), next)
	}
	return Good("%s%s", size, room)
}

// Queue is what waits of some kind of job.
type Queue struct {
	Name    string
	Waiting int64
	Oldest  time.Duration
}

// longestWait is as in the alerts of docs/operations.md.
const longestWait = time.Minute

// Jobs judges whether jobs are worked off.
func Jobs(queues []Queue) Finding {
	waiting := int64(0)
	for _, q := range queues {
		if q.Oldest > longestWait {
			return Warned(
				fmt.Sprintf("%d jobs of the queue %s wait, the oldest for %v", q.Waiting, q.Name, q.Oldest.Round(time.Second)),
				"see that a replica runs, that the relay answers (mail), and that apps do (backchannel_logout)")
		}
		waiting += q.Waiting
	}
	return Good("jobs that wait: %d, none for longer than a minute", waiting)
}
