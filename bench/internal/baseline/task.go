package baseline

import (
	"time"

	"github.com/google/uuid"
)

const (
	TaskHash    = "bcrypt"
	TaskRead    = "the query"
	TaskRefresh = "the transaction"
)

// Task is done over and over by some clients, each with one session after the other.
type Task struct {
	What     string
	Clients  int
	For      time.Duration
	Sessions []uuid.UUID
}
