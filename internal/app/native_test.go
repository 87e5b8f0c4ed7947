package app_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.example/internal/dbtest"
)

// A reader who types the commands must have tokens at the end.
func TestTheNativeAppOfTheDocumentsLogsInWithoutABrowser(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	programs := t.TempDir()
	buildGatehouse(t, filepath.Join(programs, "gatehouse"))
	d := document(t, "A native app of your own", programs, dbtest.FreeAddr(t))
	shown := d.types()
	if !strings.Contains(shown, `"access_token":"`) || !strings.Contains(shown, `"refresh_token":"ghr_`) {
		t.Errorf("the commands show %s", shown)
	}
}
