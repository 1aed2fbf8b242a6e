//! Passwords: which are allowed, and what is kept of them (Argon2id, RFC 9106).
//!
//! Owns: the parameters. Must never know: whose password it is. Hashing and verifying take some 30 ms and 19 MiB: never on
//! the loop's thread.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};

use crate::limits;

/// Memory of one hash, in KiB; with the two below the OWASP Password Storage Cheat Sheet's advice for Argon2id.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a password is verified against when there is no such user, so that time does not tell: the same parameters, and
/// no password that is known.
pub const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Checks a password that somebody wants to have. Its bytes are taken as they are. The error is a sentence for the person
/// who chose it.
///
/// # Errors
/// It has fewer than 8 or more than 128 characters, or more than 512 bytes.
pub fn check_new(password: &str) -> Result<(), &'static str> {
    let count = password.chars().take(limits::PASSWORD_CHARS_MAX + 1).count();
    if count < limits::PASSWORD_CHARS_MIN {
        return Err("A password has at least 8 characters");
    }
    if count > limits::PASSWORD_CHARS_MAX || password.len() > limits::PASSWORD_BYTES_MAX {
        return Err("A password has at most 128 characters");
    }
    Ok(())
}

/// Hashes a password; `salt` is random. The result is a PHC string.
///
/// # Panics
/// Never for passwords that [`check_new`] accepts.
#[must_use]
pub fn hash(password: &str, salt: [u8; 16]) -> String {
    let hashed = argon2().hash_password_with_salt(password.as_bytes(), &salt);
    hashed.expect("the parameters are valid, and a password is short").to_string()
}

/// Whether a password fits a PHC string. A text that is none fits no password.
#[must_use]
pub fn verify(password: &str, phc: &str) -> bool {
    // An overlong password was never accepted, and is not worth the work.
    password.len() <= limits::PASSWORD_BYTES_MAX && argon2().verify_password(password.as_bytes(), phc).is_ok()
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let phc = hash("correct horse", [7; 16]);
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify("correct horse", &phc));
        for wrong in ["correct horsf", "", "Correct horse", &"x".repeat(513)] {
            assert!(!verify(wrong, &phc), "{wrong}");
        }
        assert_ne!(phc, hash("correct horse", [8; 16]), "the salt counts");
        assert!(!verify("correct horse", "correct horse"), "what is no PHC string fits nothing");
    }

    #[test]
    fn the_dummy_costs_what_a_real_hash_costs_and_fits_nothing() {
        let real = hash("correct horse", [7; 16]);
        let parts = |phc: &str| phc.split('$').map(str::to_owned).collect::<Vec<_>>();
        let (real, dummy) = (parts(&real), parts(DUMMY));
        assert_eq!(real[..4], dummy[..4]);
        assert_eq!((real[4].len(), real[5].len()), (dummy[4].len(), dummy[5].len()));
        // That it is read to its end, and not refused by its looks in no time: its parameters are those of `argon2`.
        assert!(argon2::password_hash::phc::PasswordHash::new(DUMMY).is_ok());
        assert!(!verify("", DUMMY));
    }

    #[test]
    fn a_new_password_has_8_to_128_characters() {
        for good in ["12345678", "пароль12", &"x".repeat(128), &"é".repeat(128), &"🐎".repeat(128)] {
            assert_eq!(check_new(good), Ok(()), "{good}");
        }
        for bad in ["", "1234567", &"x".repeat(129), &"🐎".repeat(129)] {
            assert!(check_new(bad).is_err(), "{bad}");
        }
    }
}
