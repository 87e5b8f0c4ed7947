package breached

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func hashOf(password string) string { return fmt.Sprintf("%X", sha1.Sum([]byte(password))) }

// built makes a filter of lists, and returns the name of its file.
func built(t testing.TB, lists ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "leaked")
	if _, err := tryBuild(t.Context(), file, lists...); err != nil {
		t.Fatal(err)
	}
	return file
}

func tryBuild(ctx context.Context, file string, lists ...string) (Built, error) {
	builder, err := NewBuilder(file)
	if err != nil {
		return Built{}, err
	}
	defer builder.Close()
	for n, list := range lists {
		if err := builder.Read(ctx, fmt.Sprint("list ", n+1), strings.NewReader(list), func(int) {}); err != nil {
			return Built{}, err
		}
	}
	return builder.Write(ctx, func(int, int) {})
}

func open(t testing.TB, file string) *Filter {
	t.Helper()
	filter, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := filter.Verify(); err != nil {
		t.Fatal(err)
	}
	return filter
}

func contents(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Of a million others, one in 4,000 lists of this size has one that is taken for leaked. With
// fingerprints of 16 bits it would be 15.
func TestEveryLeakedPasswordIsFoundAndHardlyAnyOther(t *testing.T) {
	t.Parallel()
	const all = 1_000_000
	password := func(n int) string { return "leaked-" + strconv.Itoa(n) }
	var list strings.Builder
	for n := range all {
		list.WriteString(hashOf(password(n)))
		list.WriteString(":3\n")
	}
	filter := open(t, built(t, list.String()))
	if got := filter.Passwords(); got != all {
		t.Errorf("the filter has %d passwords of %d", got, all)
	}
	mistaken := 0
	for n := range all {
		if !filter.Contains(password(n)) {
			t.Fatalf("%q is not found", password(n))
		}
		if filter.Contains("other-" + strconv.Itoa(n)) {
			mistaken++
		}
	}
	if mistaken > 1 {
		t.Errorf("%d others of %d are taken for leaked", mistaken, all)
	}
}

// Small lists have parts with no hash, one, and a few.
func TestAListMayHaveAnyLength(t *testing.T) {
	t.Parallel()
	for _, length := range []int{1, 2, 3, 5, 100, 700, 3000} {
		var list strings.Builder
		for n := range length {
			fmt.Fprintln(&list, hashOf(fmt.Sprint("few-", n)))
		}
		filter := open(t, built(t, list.String()))
		for n := range length {
			if password := fmt.Sprint("few-", n); !filter.Contains(password) {
				t.Errorf("of %d, %q is not found", length, password)
			}
		}
		if filter.Contains("another") {
			t.Errorf("of %d, another is found", length)
		}
	}
}

func TestTheSameHashesMakeTheSameFileHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	a, b, c := hashOf("a"), hashOf("b"), hashOf("c")
	want := contents(t, built(t, a+":1\n"+b+":22\n"+c+":333\n"))
	for name, lists := range map[string][]string{
		"another order":     {c + ":1\n" + a + ":1\n" + b + ":1\n"},
		"several lists":     {a + "\n" + c, b},
		"often":             {a + "\n" + a + "\n" + b + ":2\n" + c + "\n", a + ":9\n"},
		"without counts":    {a + "\n" + b + "\n" + c + "\n"},
		"no end of a line":  {a + "\n" + b + "\n" + c},
		"lines of Windows":  {a + ":1\r\n" + b + "\r\n" + c + ":3\r\n"},
		"small letters":     {strings.ToLower(a + ":1\n" + b + ":1\n" + c + ":1\n")},
		"empty lines":       {"\n" + a + "\n\r\n" + b + "\n\n" + c + "\n\n"},
		"a count of 0":      {a + ":1\n" + hashOf("padding") + ":0\n" + b + ":10\n" + c + ":1\n" + hashOf("more") + ":000\n"},
		"spaces at the end": {a + "  \n" + b + "\t\n" + c + ":1 \n"},
	} {
		if got := contents(t, built(t, lists...)); !bytes.Equal(got, want) {
			t.Errorf("%s: another file", name)
		}
	}
}

// Who has a wrong line in 40 GB must find it.
func TestABrokenLineIsNamedByItsNumber(t *testing.T) {
	t.Parallel()
	good := hashOf("a")
	for name, test := range map[string]struct{ line, says string }{
		"a digit less":          {good[1:], isNoHash},
		"a digit more":          {good + "0", isNoHash},
		"a letter of none":      {good[1:] + "g", isNoHash},
		"a range without start": {good[5:] + ":3", isNoHash},
		"no count":              {good + ":", isNoHash},
		"a count of letters":    {good + ":many", isNoHash},
		"a negative count":      {good + ":-1", isNoHash},
		"two counts":            {good + ":1:2", isNoHash},
		"a password":            {"hunter2", isNoHash},
		"zeros":                 {strings.Repeat("\x00", 40), isNoHash},
		"an NTLM hash":          {"B4B9B02E6F09A9BD760F388B67351E2B:4", isNTLM},
		"a very long line":      {strings.Repeat("0", 3<<20), isNoHash},
		"a very long count":     {good + ":" + strings.Repeat("1", 2000), isNoHash},
	} {
		file := filepath.Join(t.TempDir(), "leaked")
		_, err := tryBuild(t.Context(), file, good+"\n", good+"\n\n"+test.line+"\n"+good+"\n")
		wrong, ok := errors.AsType[*LineError](err)
		if !ok || wrong.List != "list 2" || wrong.Line != 3 || wrong.Problem != test.says {
			t.Errorf("%s: %v", name, err)
		}
		if ok && wrong.Error() != "list 2, line 3: "+test.says {
			t.Errorf("%s is told as %v", name, err)
		}
		wantFiles(t, filepath.Dir(file))
	}
}

// wantFiles wants a folder to have just these files.
func wantFiles(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
}

func TestWhateverFailsLeavesTheFileOfBefore(t *testing.T) {
	t.Parallel()
	file := built(t, hashOf("a"))
	before := contents(t, file)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, try := range map[string]func() error{
		"a broken line": func() error { _, err := tryBuild(t.Context(), file, hashOf("b")+"\nbroken"); return err },
		"no hash":       func() error { _, err := tryBuild(t.Context(), file, "\n"); return err },
		"padding alone": func() error { _, err := tryBuild(t.Context(), file, hashOf("b")+":0"); return err },
		"interrupted":   func() error { _, err := tryBuild(canceled, file, hashOf("b")); return err },
		"interrupted as it is written": func() error {
			builder, err := NewBuilder(file)
			if err != nil {
				return err
			}
			defer builder.Close()
			if err := builder.Read(t.Context(), "list", strings.NewReader(hashOf("b")), func(int) {}); err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(t.Context())
			_, err = builder.Write(ctx, func(int, int) { cancel() })
			return err
		},
	} {
		if err := try(); err == nil {
			t.Errorf("%s is no error", name)
		}
		if !bytes.Equal(contents(t, file), before) {
			t.Errorf("%s: the file is another", name)
		}
		wantFiles(t, filepath.Dir(file), "leaked")
	}
	if _, err := tryBuild(t.Context(), file, "\n"); !errors.Is(err, ErrNoHashes) {
		t.Errorf("no hash: %v", err)
	}
	if _, err := NewBuilder(filepath.Join(t.TempDir(), "nowhere", "leaked")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// The service runs as another user than the one who makes the file.
func TestEverybodyMayReadTheFile(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(built(t, hashOf("a")))
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAFilterThatIsReplacedGoesOnAsItWas(t *testing.T) {
	t.Parallel()
	file := built(t, hashOf("a"))
	filter := open(t, file)
	if _, err := tryBuild(t.Context(), file, hashOf("b")); err != nil {
		t.Fatal(err)
	}
	if !filter.Contains("a") || filter.Contains("b") {
		t.Error("the filter that is in use changes")
	}
	if next := open(t, file); next.Contains("a") || !next.Contains("b") {
		t.Error("the next one is not the new one")
	}
}

// More keys than a part collects are on the disk, and must come back with those in memory.
func TestKeysThatWereWrittenToTheDiskComeBack(t *testing.T) {
	t.Parallel()
	keys, err := newSpill(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer keys.close()
	const part, inChunk = 7, chunkSize / keySize
	want := map[int][]uint64{}
	for n := range uint64(3*inChunk + 5) {
		for _, p := range []int{part, part + 1} {
			key := uint64(p)<<56 | (n*0x9E3779B97F4A7C15)>>8
			want[p] = append(want[p], key)
			for range 1 + n%2 {
				if err := keys.add(key); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if len(keys.chunks[part]) < 3 {
		t.Fatalf("%d chunks are on the disk", len(keys.chunks[part]))
	}
	var got []uint64
	for _, p := range []int{part, part + 1, part + 2} {
		if got, err = keys.keys(p, got); err != nil {
			t.Fatal(err)
		}
		slices.Sort(want[p])
		if !slices.Equal(got, want[p]) {
			t.Errorf("part %d has %d keys, want %d, or others", p, len(got), len(want[p]))
		}
	}
}

// Files of today must be good after an upgrade, also of the library.
func TestAFileOfBeforeIsReadAsItWas(t *testing.T) {
	t.Parallel()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the file is for the other order of bytes")
	}
	const file = "testdata/version1"
	filter := open(t, file)
	for n := range 300 {
		if password := fmt.Sprint("leaked-", n); !filter.Contains(password) {
			t.Errorf("%q is not found", password)
		}
		if password := fmt.Sprint("other-", n); filter.Contains(password) {
			t.Errorf("%q is found", password)
		}
	}
	if filter.Passwords() != 300 || filter.header.FalsePositives != 1.0/4294967296 {
		t.Errorf("%d passwords, %g", filter.Passwords(), filter.header.FalsePositives)
	}
}

// A filter that answers at random refuses nothing, or what people type.
func TestAFileThatIsCutForeignOrChangedIsRefused(t *testing.T) {
	t.Parallel()
	good := contents(t, built(t, hashOf("a")+"\n"+hashOf("b")))
	changed := func(at int) []byte {
		other := bytes.Clone(good)
		other[at] ^= 1
		return other
	}
	numbered := func(change func(h *header)) []byte {
		h, err := readHeader(good)
		if err != nil {
			t.Fatal(err)
		}
		change(h)
		encoded, err := h.encode()
		if err != nil {
			t.Fatal(err)
		}
		return append(encoded, good[len(encoded):]...)
	}
	filled := func(h *header) *part {
		return &h.Table[slices.IndexFunc(h.Table[:], func(p part) bool { return p.Fingerprints > 0 })]
	}
	size := headerSize()
	for name, test := range map[string]struct {
		file []byte
		want error
	}{
		"an empty file":         {nil, ErrForeign},
		"a list":                {[]byte(strings.Repeat(hashOf("a")+":1\n", 1000)), ErrForeign},
		"the beginning":         {good[:len(magic)], ErrDamaged},
		"half a header":         {good[:size/2], ErrDamaged},
		"the header alone":      {good[:size], ErrDamaged},
		"a byte less":           {good[:len(good)-1], ErrDamaged},
		"a byte more":           {append(bytes.Clone(good), 0), ErrDamaged},
		"another beginning":     {changed(0), ErrForeign},
		"another version":       {changed(len(magic)), ErrVersion},
		"the other order":       {numbered(func(h *header) { h.Version = 1 << 24 }), ErrVersion},
		"another number":        {changed(len(magic) + 8), ErrDamaged},
		"another seed":          {changed(size - 8 - 32), ErrDamaged},
		"another checksum":      {changed(size - 8), ErrDamaged},
		"another fingerprint":   {changed(size + 5), ErrDamaged},
		"the last fingerprint":  {changed(len(good) - 1), ErrDamaged},
		"a part behind the end": {numbered(func(h *header) { filled(h).Offset = h.Size - 4 }), ErrDamaged},
		"a part far away":       {numbered(func(h *header) { filled(h).Offset = 1<<64 - 4 }), ErrDamaged},
		"a part in the header":  {numbered(func(h *header) { filled(h).Offset = 0 }), ErrDamaged},
		"an odd place":          {numbered(func(h *header) { filled(h).Offset++ }), ErrDamaged},
		"more segments":         {numbered(func(h *header) { filled(h).SegmentCount++ }), ErrDamaged},
		"no segment":            {numbered(func(h *header) { filled(h).SegmentLength = 0 }), ErrDamaged},
		"odd segments": {numbered(func(h *header) {
			p := filled(h)
			p.SegmentLength, p.SegmentCount = 3, p.Fingerprints/3-2
		}), ErrDamaged},
	} {
		file := filepath.Join(t.TempDir(), "leaked")
		if err := os.WriteFile(file, test.file, 0o600); err != nil {
			t.Fatal(err)
		}
		filter, err := Open(file)
		if err == nil {
			err = filter.Verify()
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		} else if !strings.Contains(err.Error(), "gatehouse passwords build") {
			t.Errorf("%s: %v says not what to do", name, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a folder is a filter")
	}
}

// Somebody writes into the file in place of making a new one. The fault of the memory must end a
// request, and not the service.
func TestAFileThatIsCutWhileItIsInUseEndsNoProcess(t *testing.T) {
	t.Parallel()
	file := built(t, hashOf("a"))
	filter := open(t, file)
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("there is an answer, from nowhere")
		}
	}()
	filter.Contains("a")
}

// FuzzList wants each list to be taken whole, or refused with the number of a line that it has.
func FuzzList(f *testing.F) {
	for _, seed := range []string{
		"", "\n", hashOf("a"), hashOf("a") + ":1\r\n" + hashOf("b") + ":0\n", "B4B9B02E6F09A9BD760F388B67351E2B", "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		keys := 0
		err := readLines(t.Context(), "list", bytes.NewReader(list), func(int) {}, func(uint64) error { keys++; return nil })
		lines := bytes.Count(list, []byte("\n")) + 1
		if wrong, ok := errors.AsType[*LineError](err); err != nil && (!ok || wrong.Line < 1 || wrong.Line > lines) {
			t.Errorf("%q: %v", list, err)
		}
		if keys > lines || keys*hashDigits > len(list) {
			t.Errorf("%q has %d keys", list, keys)
		}
	})
}

// FuzzFile wants no file to be read beside what it has, whatever its header says.
func FuzzFile(f *testing.F) {
	good := contents(f, built(f, hashOf("a")+"\n"+hashOf("b")))
	f.Add(good[len(magic):], uint64(1))
	f.Add([]byte{}, uint64(1<<63))
	f.Fuzz(func(t *testing.T, rest []byte, key uint64) {
		file := append([]byte(magic), rest...)
		if size := headerSize(); len(file) >= size { // whoever makes a wrong file makes its checksum too
			binary.NativeEndian.PutUint64(file[len(magic)+16:], uint64(len(file)))
			binary.NativeEndian.PutUint32(file[size-8:], checksum(file[:size-8]))
		}
		h, err := readHeader(file)
		if err != nil {
			return
		}
		filter := newFilter(h, file)
		for n := range uint64(parts) {
			_ = filter.has(key&(1<<56-1) | n<<56)
		}
		_ = filter.Verify()
	})
}
