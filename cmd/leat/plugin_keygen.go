package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/leat-etl/leat/plugins/bundle/sign"
)

// passphraseVariable holds the passphrase of a key where nobody can be asked.
const passphraseVariable = "LEAT_KEY_PASSPHRASE"

func (p *program) pluginKeygenCommand() *cobra.Command {
	var algorithm, passphraseFile string
	cmd := &cobra.Command{
		Use:   "keygen NAME",
		Short: "Make a pair of keys to sign plugins with",
		Long: `Keygen writes NAME.key, the private key, encrypted with a passphrase in cosign's
form, and NAME.pub, the public key that users put into their trust store with
leat plugin trust add. cosign can sign with the one and verify with the other.

The passphrase is asked for, or taken from --passphrase-file or the environment
variable ` + passphraseVariable + `.`,
		Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			private, public := args[0]+".key", args[0]+".pub"
			for _, name := range []string{private, public} {
				if _, err := os.Lstat(name); err == nil {
					return errUsage{fmt.Errorf("%s exists: a key is never overwritten", name)}
				}
			}
			k, err := sign.Generate(sign.Algorithm(algorithm))
			if err != nil {
				return errUsage{err}
			}
			passphrase, err := p.passphrase(passphraseFile, true)
			if err != nil {
				return err
			}
			text, err := k.Encrypt(passphrase)
			if err != nil {
				return err
			}
			if err := os.WriteFile(private, text, 0o600); err != nil {
				return fmt.Errorf("write key: %w", err)
			}
			if err := os.WriteFile(public, k.Public().PEM(), 0o644); err != nil {
				return fmt.Errorf("write key: %w", err)
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(map[string]string{"key": k.Public().ID(), "algorithm": algorithm, "private": private, "public": public})
			}
			fmt.Fprintf(p.out, "key %s\nprivate key %s, public key %s\n", k.Public().ID(), private, public)
			return nil
		},
	}
	cmd.Flags().StringVar(&algorithm, "algorithm", string(sign.ECDSA), "ecdsa-p256 or ed25519")
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file whose first line is the passphrase")
	return cmd
}

// passphrase asks for the passphrase of a key, unless a file or the environment
// gives it. A new one is asked for twice.
func (p *program) passphrase(file string, fresh bool) ([]byte, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read passphrase: %w", err)
		}
		line, _, _ := bytes.Cut(text, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), nil
	}
	if text, ok := os.LookupEnv(passphraseVariable); ok {
		return []byte(text), nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, errUsage{fmt.Errorf("the key has a passphrase: set %s or give --passphrase-file", passphraseVariable)}
	}
	first, err := p.askSecret("passphrase: ")
	if err != nil || !fresh {
		return first, err
	}
	again, err := p.askSecret("passphrase once more: ")
	if err == nil && !bytes.Equal(first, again) {
		err = errors.New("the two passphrases differ")
	}
	return first, err
}

func (p *program) askSecret(prompt string) ([]byte, error) {
	fmt.Fprint(p.err, prompt)
	secret, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(p.err)
	if err != nil {
		return nil, fmt.Errorf("read what is typed: %w", err)
	}
	return secret, nil
}

// privateKey reads a private key, from a file or from the environment variable
// behind env://.
func (p *program) privateKey(name, passphraseFile string) (sign.PrivateKey, error) {
	text, err := keyText(name)
	if err != nil {
		return sign.PrivateKey{}, err
	}
	k, err := sign.ParsePrivateKey(text, func() ([]byte, error) { return p.passphrase(passphraseFile, false) })
	if err != nil {
		return sign.PrivateKey{}, fmt.Errorf("read key %s: %w", name, err)
	}
	return k, nil
}

func keyText(name string) ([]byte, error) {
	if variable, ok := strings.CutPrefix(name, "env://"); ok {
		text, ok := os.LookupEnv(variable)
		if !ok {
			return nil, errUsage{fmt.Errorf("read key: the environment variable %s is not set", variable)}
		}
		return []byte(text), nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return text, nil
}
