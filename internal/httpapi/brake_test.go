package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/asynctest"
	"gatehouse/internal/auth"
)

// A refusal that comes at once is tried again at once, by as many clients as there are, for nothing.
func TestAnswersThatTurnAFloodAwayAreHeldBackAndOthersAreNot(t *testing.T) {
	t.Parallel()
	for err, held := range map[error]bool{
		&auth.LimitedError{RetryAfter: time.Minute}: true, fmt.Errorf("wrapped: %w", auth.ErrOverloaded): true,
		auth.ErrWrongPassword: false, auth.ErrUnavailable: false, auth.ErrStopping: false, errors.New("a fault"): false,
	} {
		b := newBrake(time.Hour, 1)
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.hold(ctx, err); close(done) }()
		if held {
			asynctest.Await(t, "the answer to be held back", func() bool { return len(b.places) == 1 })
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
	s := &server{brake: b}
	engine := newEngine()
	engine.Use(func(c *gin.Context) { c.Writer = &noted{ResponseWriter: c.Writer} })
	engine.GET("/", route{guard: anybody, handle: func(*gin.Context) error { return auth.ErrOverloaded }}.serve(s))
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
