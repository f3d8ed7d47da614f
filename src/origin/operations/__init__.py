"""Operations: orders that move GGOs, and what becomes of them (contract: v2, Operations)."""
