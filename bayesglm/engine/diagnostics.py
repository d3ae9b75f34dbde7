"""Temporary."""
import numpy as np
from arviz_stats.base import array_stats as A
def rhat(d): d=np.asarray(d); return np.array([A.rhat(d[:,:,i],chain_axis=0,draw_axis=1) for i in range(d.shape[2])]) if d.ndim==3 else rhat(d.reshape(*d.shape[:2],-1)).reshape(d.shape[2:])
def ess(d,kind="bulk"): d=np.asarray(d); return np.array([A.ess(d[:,:,i],chain_axis=0,draw_axis=1,method=kind,**({'prob':0.1} if kind=='tail' else {})) for i in range(d.shape[2])]) if d.ndim==3 else ess(d.reshape(*d.shape[:2],-1),kind).reshape(d.shape[2:])
def ebfmi(e): e=np.asarray(e); return (np.diff(e,axis=1)**2).sum(1)/((e-e.mean(1,keepdims=True))**2).sum(1)
