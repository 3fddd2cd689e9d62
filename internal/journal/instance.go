package journal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	instanceFile  = "instance"
	instanceBytes = 16
)

var instanceForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Instance returns this rotatord's own id: 32 hex digits, made once for a state
// directory. Two daemons know each other apart by it, so a copy of the directory
// must not run beside the original.
func Instance(dir string) (string, error) {
	path := filepath.Join(dir, instanceFile)
	if err := checkDir(dir); err != nil {
		return "", err
	}
	id, err := readInstance(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	err = placeFile(path, func(tmp string) error {
		raw := make([]byte, instanceBytes)
		_, _ = rand.Read(raw) // never fails; it crashes the program instead
		return os.WriteFile(tmp, []byte(hex.EncodeToString(raw)+"\n"), fileMode)
	})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make instance id: %w", err)
	}
	return readInstance(path) // what won, if two made one at once
}

func readInstance(path string) (string, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read instance id: %w", err)
	}
	id := strings.TrimSpace(string(body))
	if !instanceForm.MatchString(id) {
		return "", fmt.Errorf("read instance id: %s does not hold 32 hex digits; "+
			"restore it, or remove it and this rotatord gets a new id and treats its own claims as foreign", path)
	}
	return id, nil
}
