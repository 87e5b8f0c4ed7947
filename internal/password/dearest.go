package password

import (
	"math"
	"time"
)

// Costs is how much work hashes take to compare: of bcrypt the cost, of Argon2id KiB times passes.
// Zero stands for none.
type Costs struct{ Bcrypt, Argon2id int }

const (
	// mostOwed bounds what Verdict.Owed tells a caller to wait.
	mostOwed = time.Second

	// argon2idPace is nanoseconds for each KiB and pass, before one was measured.
	argon2idPace = 700
)

// CostsOf is the work of one stored hash; none of what is no hash that can be used.
func CostsOf(stored string) Costs {
	if a, err := parseArgon2id(stored); err == nil {
		return Costs{Argon2id: a.work()}
	}
	if f, err := parse(stored); err == nil {
		return Costs{Bcrypt: f.cost}
	}
	return Costs{}
}

// Cost is the target.
func (h *Hasher) Cost() Costs { return Costs{Bcrypt: h.cost} }

// OutlastWaiting tells whether a hash of these costs shows by time although refused logins are held
// back: the wait is a second, in which a processor of these days compares bcrypt of cost 14, or any
// Argon2id within the bounds.
func (c Costs) OutlastWaiting() bool { return c.Bcrypt > 14 }

// Exceed tells whether a hash of these costs takes longer to compare than one of the target cost.
// Of Argon2id that is taken for so: it goes by the machine.
func (c Costs) Exceed(target Costs) bool { return c.Bcrypt > target.Bcrypt || c.Argon2id > 0 }

// SetDearest says what the dearest hashes are that any account may have.
func (h *Hasher) SetDearest(c Costs) { h.dearest.Store(&c) }

// owed is how much longer the dearest hash on record would have taken to compare, in as many forms:
// a refusal that comes sooner tells that the account has another one.
func (h *Hasher) owed(took time.Duration, forms int) time.Duration {
	dearest := h.dearest.Load()
	if dearest == nil || !dearest.Exceed(h.Cost()) {
		return 0
	}
	pace, argon2 := float64(h.pace.Load()), float64(h.argon2Pace.Load())
	one := math.Max(pace*math.Exp2(float64(dearest.Bcrypt-h.cost)), argon2*float64(dearest.Argon2id))
	return min(max(time.Duration(one*float64(forms))-took, 0), mostOwed)
}
