// Package lifecycle kills and cheats the built program while it creates, edits, replaces,
// renames and retires credentials: TestSweep at every request of every command with every
// fault, TestLives in random lives. The portal is the emulator behind a real socket; the
// process, its files and its journal are real.
package lifecycle
