package password

import (
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// ownNice is read before any test makes a lane.
var ownNice = threadNice()

// threadNice is the calling thread's niceness. The raw system call gives 20 minus it
// (getpriority(2), "C library/kernel differences").
func threadNice() int {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
	if err != nil {
		panic(err)
	}
	return 20 - raw
}

func TestOnlyTheLanesThreadsAreNice(t *testing.T) {
	t.Parallel()
	const threads = 3
	l := NewLane(LaneOptions{Threads: threads})
	niceness := atOnce(threads, func(read func()) {
		if err := l.Do(t.Context(), "", read); err != nil {
			t.Errorf("Do: %v", err)
		}
	})
	for _, nice := range niceness {
		if nice != 19 {
			t.Errorf("a thread of the lane has niceness %d, want 19", nice)
		}
	}
	if got := l.Stats().LowPriority; got != threads {
		t.Errorf("Stats().LowPriority = %d, want %d", got, threads)
	}

	others := func(read func()) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		read()
	}
	for _, when := range []string{"beside the lane", "after Close"} {
		for _, nice := range atOnce(8, others) {
			if nice != ownNice {
				t.Errorf("%s a thread has niceness %d, want %d", when, nice, ownNice)
			}
		}
		l.Close()
	}
}

// atOnce reads the niceness of n threads that run at the same time, each where run calls its
// function.
func atOnce(n int, run func(read func())) []int {
	niceness := make([]int, n)
	var all, here sync.WaitGroup
	here.Add(n)
	for i := range n {
		all.Go(func() {
			run(func() {
				niceness[i] = threadNice()
				here.Done()
				here.Wait()
			})
		})
	}
	all.Wait()
	return niceness
}
