package rows

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/internal/breached"
)

const (
	leakedPerTrial = 500_000   // passwords of the list: 100,000,000 at the default number of trials
	lookUps        = 1_000_000 // one half of what is in the list, and one of what is not
)

// leakedPasswords is a look-up among passwords that are known from leaks. They are numbers here.
func leakedPasswords(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	file, passwords := filepath.Join(s.Dir, "leaked.filter"), o.Trials*leakedPerTrial
	defer os.Remove(file)
	began := time.Now()
	built, err := buildLeaked(ctx, file, passwords)
	if err != nil {
		return nil, "", err
	}
	took := time.Since(began)
	filter, err := breached.Open(file)
	if err != nil {
		return nil, "", err
	}
	before := machine.FromFile("/proc/self/status", "RssFile")
	if err := filter.Verify(); err != nil { // reads all of it, as a replica does at its start
		return nil, "", err
	}
	memory := machine.FromFile("/proc/self/status", "RssFile")
	asked, found := make([]string, lookUps), 0
	for n := range asked {
		asked[n] = strconv.Itoa(n * (2 * passwords / lookUps))
	}
	began = time.Now()
	for _, password := range asked {
		if filter.Contains(password) {
			found++
		}
	}
	looked := time.Since(began) / lookUps
	began = time.Now()
	for _, password := range asked {
		_ = sha1.Sum([]byte(password))
	}
	hashed := time.Since(began) / lookUps
	if found != lookUps/2 {
		return nil, "", fmt.Errorf("%d of %d passwords are found, half of which were in the list", found, lookUps)
	}
	megabytes := float64(built.Bytes) / 1e6
	return []float64{float64(looked), ratio(looked, hashed), megabytes}, fmt.Sprintf("%d passwords, of which a file was made in %.0f s; a look-up takes %s, the SHA-1 of it %s; "+
		"the bench had %s of files in memory before all of the file was read, and %s then; for a billion passwords a file would have %.1f GB",
		passwords, took.Seconds(), looked, hashed, before, memory, megabytes/1e3*1e9/float64(passwords)), nil
}

func buildLeaked(ctx context.Context, file string, passwords int) (breached.Built, error) {
	builder, err := breached.NewBuilder(file)
	if err != nil {
		return breached.Built{}, err
	}
	defer builder.Close()
	list, lines := io.Pipe()
	defer list.Close()
	go func() {
		out, line := bufio.NewWriter(lines), []byte(nil)
		for n := range passwords {
			sum := sha1.Sum(strconv.AppendInt(nil, int64(n), 10))
			line = append(hex.AppendEncode(line[:0], sum[:]), '\n')
			if _, err := out.Write(line); err != nil {
				return // nobody reads any more
			}
		}
		lines.CloseWithError(out.Flush())
	}()
	if err := builder.Read(ctx, "the list", list, func(int) {}); err != nil {
		return breached.Built{}, err
	}
	return builder.Write(ctx, func(int, int) {})
}
