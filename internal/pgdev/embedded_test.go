package pgdev

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// This tests the download, the unpacking and the use of embedded-postgres's programs. Its
// repository serves the programs of this machine.
func TestEmbeddedProgramsAreDownloadedOnceAndRun(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		runAsAnother(t, "^"+t.Name()+"$") // root may not use embedded-postgres
		return
	}
	downloads := 0
	archive := jar(t)
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			sum := sha256.Sum256(archive)
			_, _ = w.Write([]byte(hex.EncodeToString(sum[:])))
			return
		}
		downloads++
		_, _ = w.Write(archive)
	}))
	defer repository.Close()

	o := Options{Dir: folder(t), Repository: repository.URL, Log: t.Output()}
	first := start(t, o)
	if first.bin != filepath.Join(o.Dir, "embedded/bin") {
		t.Errorf("it runs the programs in %s", first.bin)
	}
	leave(t, first.URL(), "mark")
	stop(t, first)
	second := start(t, o)
	if !found(t, second.URL(), "mark") {
		t.Error("the second run has a new cluster")
	}
	if downloads != 1 {
		t.Errorf("downloaded %d times", downloads)
	}
}

func TestEmbeddedWithoutARepositorySaysWhatToDo(t *testing.T) {
	t.Parallel()
	nothing := httptest.NewServer(http.NotFoundHandler())
	defer nothing.Close()
	_, err := Start(t.Context(), Options{Dir: folder(t), Repository: nothing.URL, Log: t.Output()})
	if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("not one line that says what to do: %v", err)
	}
}

// runAsAnother runs tests of this binary as the account that runs root's servers.
func runAsAnother(t *testing.T, tests string) {
	t.Helper()
	other, err := unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t)
	if err := other.own(dir); err != nil {
		t.Fatal(err)
	}
	reachable := filepath.Join(dir, "pgdev.test")
	if err := os.WriteFile(reachable, content, 0o755); err != nil {
		t.Fatal(err)
	}
	output, err := other.command(t.Context(), dir, reachable, "-test.run="+tests,
		"-test.v").CombinedOutput()
	if err != nil || !bytes.Contains(output, []byte("--- PASS: ")) {
		t.Errorf("as another user: %v\n%s", err, output)
	}
}

// jar makes an archive of this machine's programs as embedded-postgres expects it: a tar.xz in a
// zip. The libraries and other files, which the programs look for beside their own folder, are
// links to those of this machine.
func jar(t *testing.T) []byte {
	t.Helper()
	bin := Find()
	if bin == "" {
		t.Fatal("this test needs the programs of PostgreSQL 14 or newer")
	}
	var files bytes.Buffer
	tarball := tar.NewWriter(&files)
	for _, name := range []string{"postgres", "initdb", "pg_ctl"} {
		content, err := os.ReadFile(filepath.Join(bin, name))
		if err != nil {
			t.Fatal(err)
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: "bin/" + name, Mode: 0o755,
			Size: int64(len(content))}
		if err := tarball.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := tarball.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	beside, err := os.ReadDir(filepath.Dir(bin))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range beside {
		if entry.Name() == filepath.Base(bin) {
			continue
		}
		target := filepath.Join(filepath.Dir(bin), entry.Name())
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: entry.Name(), Linkname: target}
		if err := tarball.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
	}
	if err := tarball.Close(); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	outer := zip.NewWriter(&archive)
	inner, err := outer.CreateHeader(&zip.FileHeader{Name: "postgres.txz", Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inner.Write(storedXZ(files.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := outer.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// storedXZ wraps content in the .xz format (https://tukaani.org/xz/xz-file-format.txt) without
// compressing it, so the test needs no compressor. It writes one block of uncompressed LZMA2
// chunks.
func storedXZ(content []byte) []byte {
	const streamFlags = "\x00\x01" // a block's check is a CRC32
	// 12 bytes; one filter: LZMA2, 8 MiB dictionary
	blockHeader := []byte("\x02\x00\x21\x01\x16\x00\x00\x00")

	block := withCRC(blockHeader)
	control := byte(1) // a chunk that resets the dictionary; later chunks have 2
	for rest := content; len(rest) > 0; control = 2 {
		chunk := rest[:min(len(rest), 1<<16)]
		rest = rest[len(chunk):]
		block = append(block, control)
		block = binary.BigEndian.AppendUint16(block, uint16(len(chunk)-1))
		block = append(block, chunk...)
	}
	block = append(block, 0)
	unpadded := len(block) + crc32.Size
	block = padded(block)
	block = binary.LittleEndian.AppendUint32(block, crc32.ChecksumIEEE(content))

	index := []byte{0, 1} // one record
	index = binary.AppendUvarint(index, uint64(unpadded))
	index = binary.AppendUvarint(index, uint64(len(content)))
	index = withCRC(padded(index))

	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	footer = append(footer, streamFlags...)

	out := append([]byte("\xfd7zXZ\x00"), withCRC([]byte(streamFlags))...)
	out = append(out, block...)
	out = append(out, index...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(footer))
	return append(append(out, footer...), "YZ"...)
}

func withCRC(data []byte) []byte {
	return binary.LittleEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
}

func padded(data []byte) []byte {
	for len(data)%4 != 0 {
		data = append(data, 0)
	}
	return data
}
