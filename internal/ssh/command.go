package ssh

import (
	"errors"
	"path/filepath"
	"strings"
)

// ErrQuote is what Split returns for a quote that is not closed.
var ErrQuote = errors.New("a quote is not closed")

// Split splits a command at spaces as rsync does: quotes of both kinds hold words together, a doubled quote inside quotes
// of its kind is that quote, and nothing else is special.
func Split(s string) ([]string, error) {
	var words []string
	var word []byte
	inWord := false
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			if i+1 < len(s) && s[i+1] == quote {
				word = append(word, c)
				i++
				continue
			}
			quote = 0
		case quote != 0:
			word = append(word, c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ':
			if inWord {
				words, word, inWord = append(words, string(word)), word[:0], false
			}
		default:
			word, inWord = append(word, c), true
		}
	}
	if quote != 0 {
		return nil, ErrQuote
	}
	if inWord {
		words = append(words, string(word))
	}
	if len(words) == 0 {
		return nil, errors.New("empty command")
	}
	return words, nil
}

// Is reports whether a command is ssh, as far as its name tells.
func Is(command []string) bool { return len(command) > 0 && filepath.Base(command[0]) == "ssh" }

// With returns the command with options before its own: of two the first holds.
func With(command []string, options ...string) []string {
	with := append(make([]string, 0, len(command)+len(options)), command[0])
	return append(append(with, options...), command[1:]...)
}

// withValue are the letters of ssh's options that take a value.
const withValue = "BbcDEeFIiJLlmOoPpQRSWw"

// sharing reports whether the options of a command are about sharing connections: then that is the user's own affair.
// ssh -G does not tell of a -S none.
func sharing(command []string) bool {
	for i := 1; i < len(command); i++ {
		letters, ok := strings.CutPrefix(command[i], "-")
		if !ok {
			continue // the host, or what follows it
		}
		for j := 0; j < len(letters); j++ {
			switch c := letters[j]; {
			case c == 'S' || c == 'M':
				return true
			case strings.IndexByte(withValue, c) < 0:
				continue
			}
			value := letters[j+1:]
			if value == "" && i+1 < len(command) {
				i++
				value = command[i]
			}
			if letters[j] == 'o' && strings.HasPrefix(strings.ToLower(strings.TrimSpace(value)), "control") {
				return true
			}
			break
		}
	}
	return false
}
