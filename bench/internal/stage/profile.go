package stage

import (
	"os"
	"path/filepath"
	"strings"
)

// serveCommand starts a replica: of the service's program or, when there are to be profiles, of
// this one.
func (s *Stage) serveCommand(name string) ([]string, error) {
	if s.profiles == "" {
		return []string{s.Binary(), "serve"}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return []string{self, "-serve", filepath.Join(s.profiles, strings.ReplaceAll(name, " ", "-")+".pprof")}, nil
}

// UseProfiles has replicas write profiles into a folder. Without a name there are none.
func (s *Stage) UseProfiles(dir string) (err error) {
	if dir == "" {
		return nil
	}
	if s.profiles, err = filepath.Abs(dir); err != nil {
		return err
	}
	return os.MkdirAll(s.profiles, 0o755)
}
