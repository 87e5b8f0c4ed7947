package password

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// crowd is callers of a lane with one thread, whose works tell in which order they run.
type crowd struct {
	*testing.T
	lane *Lane
	ran  []string // by the lane's one thread
}

// come is a call of a share that waits; it returns where its error will come.
func (c *crowd) come(share string) <-chan error {
	c.Helper()
	result := make(chan error, 1)
	go func() { result <- c.lane.Do(context.Background(), share, func() { c.ran = append(c.ran, share) }) }()
	synctest.Wait()
	return result
}

func (c *crowd) flood(share string, n int) (results []<-chan error) {
	c.Helper()
	for range n {
		results = append(results, c.come(share))
	}
	return results
}

// refused tells which have ended with an error.
func (c *crowd) refused(results []<-chan error) (refused []int) {
	c.Helper()
	for n, result := range results {
		select {
		case err := <-result:
			if !errors.Is(err, ErrCrowded) || !errors.Is(err, ErrOverloaded) {
				c.Errorf("call %d: %v", n, err)
			}
			refused = append(refused, n)
		default:
		}
	}
	return refused
}

func crowded(t *testing.T, queue int, test func(*crowd)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{T: t, lane: NewLane(LaneOptions{Threads: 1, Queue: queue})}
		release := occupy(t, c.lane)
		test(c)
		release()
		synctest.Wait()
		c.lane.Close()
	})
}

// One address with one account stopped all logins: its own waited in all the places that there are.
func TestAFloodFromOneNetworkKeepsNobodyElseOut(t *testing.T) {
	t.Parallel()
	crowded(t, 8, func(c *crowd) {
		flood := c.flood("flood", 9)
		if got := c.refused(flood); fmt.Sprint(got) != "[8]" {
			c.Errorf("of a share that is alone, %v are refused", got)
		}
		if err := c.lane.CheckRoom("victim"); err != nil {
			c.Errorf("nobody else is let in: %v", err)
		}
		victim := c.come("victim")
		if got := c.refused(flood); fmt.Sprint(got) != "[7]" { // the one that came last
			c.Errorf("%v make room", got)
		}
		if err := c.lane.CheckRoom("flood"); !errors.Is(err, ErrCrowded) {
			c.Errorf("more of the flood is let in: %v", err)
		}
		select {
		case err := <-victim:
			c.Errorf("the victim's login ended: %v", err)
		default:
		}
		if got := c.lane.Stats(); got.Queued != 8 || got.Refused != 3 {
			c.Errorf("%+v", got)
		}
	})
}

// A flood that waited in front would have everybody else wait for all of it.
func TestSharesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{T: t, lane: NewLane(LaneOptions{Threads: 1, Queue: 12})}
		release := occupy(t, c.lane)
		c.flood("a", 4)
		c.flood("b", 2)
		c.flood("c", 1)
		release()
		synctest.Wait()
		if got := strings.Join(c.ran, ""); got != "abcabaa" {
			t.Errorf("they ran as %s", got)
		}
		c.lane.Close()
	})
}

func TestWhileOthersWaitAShareHasAQuarterOfTheQueue(t *testing.T) {
	t.Parallel()
	crowded(t, 12, func(c *crowd) {
		c.flood("a", 1)
		if got := c.refused(c.flood("b", 5)); fmt.Sprint(got) != "[3 4]" {
			c.Errorf("of five of b, %v are refused", got)
		}
		if got := c.lane.Stats(); got.Queued != 4 {
			c.Errorf("%+v", got)
		}
	})
}

// Four addresses with one account each stopped all logins: of their quarters there was the whole
// queue.
func TestFourFloodsKeepNobodyElseOut(t *testing.T) {
	t.Parallel()
	crowded(t, 8, func(c *crowd) {
		var floods []<-chan error
		for _, share := range []string{"a", "b", "c", "d"} {
			floods = append(floods, c.flood(share, 2)...)
		}
		victim := c.come("victim")
		if got := c.refused(floods); fmt.Sprint(got) != "[1]" {
			c.Errorf("%v make room", got)
		}
		if got := c.refused([]<-chan error{victim}); got != nil {
			c.Error("the victim is refused")
		}
		if err := c.lane.CheckRoom("victim"); !errors.Is(err, ErrOverloaded) || errors.Is(err, ErrCrowded) {
			c.Errorf("a second one, where the others have two, is told %v", err)
		}
	})
}

// Where all have but their part, nobody makes room for one more.
func TestAQueueThatIsFullOfManySharesRefusesTheNext(t *testing.T) {
	t.Parallel()
	crowded(t, 8, func(c *crowd) {
		var all []<-chan error
		for n := range 8 {
			all = append(all, c.come(fmt.Sprint(n)))
		}
		if err := c.lane.Do(c.Context(), "e", func() { c.Error("it ran") }); !errors.Is(err, ErrOverloaded) || errors.Is(err, ErrCrowded) {
			c.Errorf("the next is told %v", err)
		}
		if got := c.refused(all); got != nil {
			c.Errorf("%v made room", got)
		}
	})
}

// A caller that leaves must not count for its share, nor keep its turn.
func TestWhoGivesUpIsInNoLine(t *testing.T) {
	t.Parallel()
	crowded(t, 8, func(c *crowd) {
		c.flood("a", 1)
		ctx, giveUp := context.WithCancel(c.Context())
		var gone []<-chan error
		for range 2 {
			result := make(chan error, 1)
			go func() { result <- c.lane.Do(ctx, "b", func() { c.Error("it ran") }) }()
			gone = append(gone, result)
		}
		synctest.Wait()
		if err := c.lane.CheckRoom("b"); !errors.Is(err, ErrCrowded) {
			c.Errorf("b has more than a quarter: %v", err)
		}
		giveUp()
		for _, result := range gone {
			if err := <-result; !errors.Is(err, context.Canceled) {
				c.Errorf("%v", err)
			}
		}
		if err := c.lane.CheckRoom("b"); err != nil {
			c.Errorf("who has left counts still: %v", err)
		}
		if got := c.lane.Stats(); got.Queued != 1 || got.Abandoned != 2 {
			c.Errorf("%+v", got)
		}
	})
}
