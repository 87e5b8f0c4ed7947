package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
)

// A client that is refused at once tries again at once. A flood of such clients would cost much for
// nothing.
func TestAnswersThatTurnAFloodAwayAreHeldBackAndOthersAreNot(t *testing.T) {
	t.Parallel()
	for err, held := range map[error]bool{
		&auth.LimitedError{RetryAfter: time.Minute}:   true,
		fmt.Errorf("wrapped: %w", auth.ErrOverloaded): true,
		auth.ErrWrongPassword:                         false, auth.ErrUnavailable: false,
		auth.ErrStopping:      false,
		errors.New("a fault"): false,
	} {
		b := newBrake(time.Hour, 1)
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.hold(ctx, err); close(done) }()
		if held {
			asynctest.Await(t, "the answer to be held back",
				func() bool { return len(b.places) == 1 })
			b.hold(t.Context(), err) // there is no place for it, so it must not wait
			leave()
		}
		<-done
		if len(b.places) != 0 {
			t.Errorf("%v: its place is not given back", err)
		}
		leave()
	}
	newBrake(time.Nanosecond, 1).hold(t.Context(), auth.ErrOverloaded) // ends by itself
}

func TestARouteHoldsItsRefusalBack(t *testing.T) {
	t.Parallel()
	b := newBrake(time.Hour, 1)
	e := &Edge{brake: b}
	engine := newEngine()
	engine.Use(func(c *gin.Context) { c.Writer = &noted{ResponseWriter: c.Writer} })
	status := func(c *gin.Context, a Answer, _ error) { c.Status(a.Status) }
	engine.GET("/", e.Answer(status, func(*gin.Context) error { return auth.ErrOverloaded }))
	ctx, leave := context.WithCancel(t.Context())
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		engine.ServeHTTP(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
		close(done)
	}()
	asynctest.Await(t, "the refusal to be held back", func() bool { return len(b.places) == 1 })
	leave()
	<-done
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", w.Code)
	}
}
